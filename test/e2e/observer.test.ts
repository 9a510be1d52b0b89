// Looking from outside: every inspecting command with --join, no node and no data directory of one's own.
// What the observer says is held against what the ring's own processes say.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { murmurLab } from '../support/murmur-process.ts';
import { askUntil, type RolloutRow, startRing } from '../support/ring.ts';

interface Status {
  readonly running: boolean;
  readonly role: string;
  readonly network: string;
  readonly connectedPeers: number;
  readonly recipes: readonly {
    readonly recipe: string;
    readonly recipeId: string;
    readonly state: string;
    readonly readyStep: number;
  }[];
}

interface RolloutInFull extends RolloutRow {
  readonly recipe: string;
  readonly prompt: string;
  readonly rollouts: readonly { readonly completion: string; readonly reward: number }[];
}

interface Recipes {
  readonly recipes: readonly { readonly recipeId: string; readonly name: string; readonly state: string }[];
  readonly offers: readonly { readonly peer: string; readonly training: readonly string[] }[];
}

async function observerFolders(): Promise<readonly string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('murmur-observer-'));
}

test('an observer sees what is true', { timeout: 300_000 }, async (t) => {
  const lab = await murmurLab(t);
  const nobody = lab.run(['status', '--join', '/ip4/127.0.0.1/tcp/9', '--loopback', '--json']);
  const { trainer, trainerPeer, joined } = await startRing(lab);
  const node = lab.start('node', ['node', ...joined]);
  const nodePeer = (await node.event('listening')).peerId;
  const { recipeId } = await trainer.event('recipe');
  await trainer.event('step', (step) => step.policyStep >= 2);
  const join = joined.filter((flag, i) => flag !== '--threads' && joined[i - 1] !== '--threads');
  const before = new Set(await observerFolders());
  const look = (command: string, ...more: string[]): Promise<unknown> => lab.ask([command, ...more, ...join]);

  await t.test('status: an observer, connected, the recipe open, a policy of its own at hand', async () => {
    const status = (await look('status')) as Status;
    const last = (await askUntil<Status>(lab, 'trainer', 'status', () => true)).recipes[0]!.readyStep;
    assert.deepEqual([status.running, status.role, status.network], [true, 'observer', 'ring']);
    assert.ok(status.connectedPeers >= 1);
    assert.deepEqual(
      status.recipes.map((row) => [row.recipe, row.recipeId, row.state]),
      [['tiny-arrows', recipeId, 'open']],
    );
    const { readyStep } = status.recipes[0]!;
    // It takes an older policy first where that is what came first; never one that the trainer has not made.
    assert.ok(readyStep !== null && readyStep >= 0 && readyStep <= last, `0 <= ${readyStep} <= ${last}`);
  });

  await t.test('peers and recipes', async () => {
    const peers = (await look('peers')) as readonly { peer: string; connected: boolean }[];
    assert.ok(peers.some((row) => row.peer === trainerPeer && row.connected));
    assert.ok(peers.every((row) => [trainerPeer, nodePeer].includes(row.peer)));
    const { recipes, offers } = (await look('recipes')) as Recipes;
    assert.deepEqual(
      recipes.map((row) => [row.recipeId, row.name, row.state]),
      [[recipeId, 'tiny-arrows', 'open']],
    );
    assert.deepEqual(
      offers.map((row) => [row.peer, row.training]),
      [[trainerPeer, [recipeId]]],
    );
  });

  await t.test('weights: those that the trainer published', async () => {
    interface Row {
      readonly policyStep: number;
      readonly policyRoot: string;
      readonly by: string;
      readonly here: boolean;
    }
    const seen = (await look('weights')) as readonly Row[];
    const own = await askUntil<readonly Row[]>(lab, 'trainer', 'weights', () => true);
    assert.ok(seen.length > 0 && seen.some((row) => row.here));
    for (const row of seen) {
      const same = own.find((each) => each.policyStep === row.policyStep);
      assert.deepEqual([row.policyRoot, row.by], [same?.policyRoot, trainerPeer]);
    }
  });

  await t.test('rollouts, one of them in full, and verdicts', async () => {
    const rows = (await look('rollouts')) as readonly RolloutRow[];
    assert.ok(rows.length > 0 && rows.every((row) => row.peer === nodePeer));
    const { groupId, rewardMean } = rows.at(-1)!;
    const group = (await look('rollouts', groupId)) as RolloutInFull;
    assert.deepEqual([group.groupId, group.recipe, group.peer], [groupId, 'tiny-arrows', nodePeer]);
    assert.match(group.prompt, /^([a-f]{2},){5}[a-f]{2}:[a-f][3-5]=$/);
    assert.equal(group.rollouts.length, 4);
    assert.equal(group.rollouts.reduce((sum, { reward }) => sum + reward, 0) / 4, rewardMean);
    const verdicts = (await look('verdicts')) as readonly { by: string; peer: string; answer: string }[];
    assert.ok(verdicts.length > 0);
    assert.ok(verdicts.every((row) => row.by === trainerPeer && row.peer === nodePeer && row.answer === 'accept'));
  });

  await t.test('an address where nobody answers is told by code', async () => {
    const { code, stdout, stderr } = await nobody;
    assert.equal(code, 1, stderr);
    assert.equal(JSON.parse(stdout).error.code, 'PEER_UNREACHABLE');
  });

  await t.test('nothing of it stays', async () => {
    assert.deepEqual(
      (await observerFolders()).filter((name) => !before.has(name)),
      [],
    );
    await Promise.all([node.interrupt(), trainer.interrupt()]);
  });
});
