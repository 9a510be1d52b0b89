// The smallest swarm as real processes: a trainer with its own verifier, two nodes, a third that comes late.
// What the inspecting commands show is held against what the processes themselves told: asked of the running trainer, from
// outside as an observer (--join), and of what is left when all have stopped.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import type { GroupCounts } from '../../node/cli/events.ts';
import { withObserver } from '../../node/cli/observer.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { askUntil, assertSlotsWithoutGap, type RolloutRow, startRing } from '../support/ring.ts';
import { runInProcess } from '../support/run-program.ts';

interface Status {
  readonly running: boolean;
  readonly role: string;
  readonly peerId: string;
  readonly network: string;
  readonly connectedPeers: number;
  readonly recipes: readonly {
    readonly recipe: string;
    readonly recipeId: string;
    readonly state: string;
    readonly readyStep: number | null;
  }[];
  readonly training: { readonly trainStep: number; readonly policyStep: number; readonly groups: GroupCounts };
  readonly eventLoopDelayMs: { readonly mean: number; readonly p99: number; readonly max: number };
  readonly blockedMs: { readonly p99: number; readonly max: number };
}

interface RolloutInFull extends RolloutRow {
  readonly recipe: string;
  readonly prompt: string;
  readonly rollouts: readonly { readonly completion: string; readonly tokens: number; readonly reward: number }[];
}

interface WeightsRow {
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly parentRoot: string | null;
  readonly here: boolean;
  readonly by: string;
}

interface Recipes {
  readonly recipes: readonly { readonly recipeId: string; readonly name: string; readonly state: string }[];
  readonly offers: readonly { readonly peer: string; readonly accepts: string; readonly training: readonly string[] }[];
}

interface VerdictRow {
  readonly by: string;
  readonly peer: string;
  readonly answer: string;
}

async function observerFolders(): Promise<readonly string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('murmur-observer-'));
}

/** The letter that the hops of `ad,bf,ca,de,eb,fc:a4=` lead to. */
function answerOf(prompt: string): string {
  const [pairs = '', question = ''] = prompt.split(':');
  const arrows = new Map(pairs.split(',').map((pair) => [pair[0]!, pair[1]!]));
  let at = question[0]!;
  for (let hop = Number(question[1]); hop > 0; hop--) at = arrows.get(at)!;
  return at;
}

test('the ring turns, and every command shows what is true', { timeout: 300_000 }, async (t) => {
  const lab = await murmurLab(t);
  const { trainer, trainerPeer, joined } = await startRing(lab);
  const nodes = [lab.start('node-1', ['node', ...joined]), lab.start('node-2', ['node', ...joined])];
  const peers = await Promise.all(nodes.map(async (node) => (await node.event('listening')).peerId));
  await trainer.event('step', (step) => step.policyStep >= 3);
  await Promise.all(nodes.map((node) => node.event('rollouts')));
  const look = (command: string, ...more: string[]): Promise<unknown> =>
    lab.ask([command, ...more, '--data-dir', lab.dataDir('trainer')]);

  await t.test('status', async () => {
    const status = (await look('status')) as Status;
    assert.deepEqual([status.running, status.role, status.peerId], [true, 'trainer', trainerPeer]);
    assert.equal(status.connectedPeers, 2);
    assert.deepEqual([status.recipes.length, status.recipes[0]?.state], [1, 'open']);
    assert.ok(status.training.policyStep >= 3);
    assertAddsUp(status.training.groups);
    assert.ok(status.training.groups.trained >= 3);
    const { mean, p99, max } = status.eventLoopDelayMs;
    assert.ok(mean > 0 && p99 > 0 && max >= p99 / 2, JSON.stringify(status.eventLoopDelayMs));
    assert.ok(status.blockedMs.max > 0 && status.blockedMs.max <= max, JSON.stringify(status.blockedMs));
  });

  await t.test('peers, recipes, weights', async () => {
    const [peerRows, recipes, weights] = (await Promise.all([look('peers'), look('recipes'), look('weights')])) as [
      readonly { peer: string; connected: boolean; acceptedGroups: number; rejectedGroups: number }[],
      Recipes,
      readonly WeightsRow[],
    ];
    assert.deepEqual(peerRows.map((row) => row.peer).sort(), [...peers].sort());
    assert.ok(peerRows.every((row) => row.connected && row.rejectedGroups === 0));
    assert.ok(peerRows.some((row) => row.acceptedGroups > 0));
    assert.deepEqual(
      recipes.recipes.map(({ name, state }) => [name, state]),
      [['tiny-arrows', 'open']],
    );
    assert.deepEqual(
      recipes.offers.map(({ peer, accepts }) => [peer, accepts]),
      [[trainerPeer, 'author']],
    );
    assert.ok(weights.length >= 4 && weights.every((row) => row.by === trainerPeer));
    weights.forEach((row, i) => {
      if (i > 0)
        assert.deepEqual(
          [row.policyStep, row.parentRoot],
          [weights[i - 1]!.policyStep + 1, weights[i - 1]!.policyRoot],
        );
    });
    assert.equal(weights.at(-1)?.here, true);
  });

  await t.test('rollouts and verdicts', async () => {
    const [rollouts, verdicts] = (await Promise.all([look('rollouts'), look('verdicts')])) as [
      readonly RolloutRow[],
      readonly VerdictRow[],
    ];
    assert.ok(rollouts.length > 0 && rollouts.length <= 20);
    assert.ok(
      rollouts.every((row) => peers.includes(row.peer) && row.rewardMean * 4 === Math.round(row.rewardMean * 4)),
    );
    assert.ok(verdicts.length > 0);
    assert.ok(verdicts.every((row) => row.by === trainerPeer && peers.includes(row.peer) && row.answer === 'accept'));
    const id = rollouts.at(-1)!.groupId;
    const group = (await look('rollouts', id.slice(0, 16))) as RolloutInFull;
    assert.equal(group.groupId, id);
    assert.equal(group.rollouts.length, 4);
    for (const { completion, reward } of group.rollouts) {
      const said = completion.slice(completion.lastIndexOf('>') + 1);
      assert.equal(reward, said === answerOf(group.prompt) ? 1 : 0, `${group.prompt}${completion}`);
    }
    const { stdout } = await runInProcess(['rollouts', id, '--data-dir', lab.dataDir('trainer')]);
    for (const part of [group.prompt, ...group.rollouts.map((each) => each.completion), 'reward', 'accept']) {
      assert.ok(stdout.includes(part), `${part} in\n${stdout}`);
    }
  });

  await t.test('from outside, as an observer: the same', async () => {
    const join = joined.filter((flag, i) => flag !== '--threads' && joined[i - 1] !== '--threads');
    const before = new Set(await observerFolders());
    const seen = await withObserver({ network: 'ring', join: [joined.at(-1)!], loopback: true }, async (handlers) => ({
      status: (await handlers.status({})) as unknown as Status,
      peers: (await handlers.peers({})) as readonly { peer: string; connected: boolean }[],
      recipes: (await handlers.recipes({})) as Recipes,
      weights: (await handlers.weights({ limit: 20 })) as readonly WeightsRow[],
      rollouts: (await handlers.rollouts({ limit: 20 })) as readonly RolloutRow[],
      verdicts: (await handlers.verdicts({ limit: 20 })) as readonly VerdictRow[],
    }));
    const { status } = seen;
    const [recipe] = (await askUntil<Status>(lab, 'trainer', 'status', () => true)).recipes;
    assert.deepEqual([status.running, status.role, status.network], [true, 'observer', 'ring']);
    assert.ok(status.connectedPeers >= 1);
    assert.deepEqual(
      status.recipes.map((row) => [row.recipe, row.recipeId, row.state]),
      [['tiny-arrows', recipe!.recipeId, 'open']],
    );
    const readyStep = status.recipes[0]!.readyStep;
    // It takes an older policy first where that is what came first; never one that the trainer has not made.
    assert.ok(readyStep !== null && readyStep >= 0 && readyStep <= recipe!.readyStep!, `${readyStep}`);
    assert.ok(seen.peers.some((row) => row.peer === trainerPeer && row.connected));
    assert.ok(seen.peers.every((row) => [trainerPeer, ...peers].includes(row.peer)));
    assert.deepEqual(
      seen.recipes.recipes.map((row) => [row.recipeId, row.name, row.state]),
      [[recipe!.recipeId, 'tiny-arrows', 'open']],
    );
    assert.deepEqual(
      seen.recipes.offers.map((row) => [row.peer, row.training]),
      [[trainerPeer, [recipe!.recipeId]]],
    );
    const own = await askUntil<readonly WeightsRow[]>(lab, 'trainer', 'weights', () => true);
    assert.ok(seen.weights.some((row) => row.here));
    for (const row of seen.weights) {
      const same = own.find((each) => each.policyStep === row.policyStep);
      assert.deepEqual([row.policyRoot, row.by], [same?.policyRoot, trainerPeer]);
    }
    assert.ok(seen.rollouts.length > 0 && seen.rollouts.every((row) => peers.includes(row.peer)));
    assert.ok(seen.verdicts.length > 0);
    assert.ok(seen.verdicts.every((row) => row.by === trainerPeer && row.answer === 'accept'));

    const { groupId, peer, rewardMean } = seen.rollouts.at(-1)!;
    const group = (await lab.ask(['rollouts', groupId, ...join])) as RolloutInFull;
    assert.deepEqual([group.groupId, group.recipe, group.peer], [groupId, 'tiny-arrows', peer]);
    assert.match(group.prompt, /^([a-f]{2},){5}[a-f]{2}:[a-f][3-5]=$/);
    assert.equal(group.rollouts.reduce((sum, { reward }) => sum + reward, 0) / 4, rewardMean);
    assert.deepEqual(
      (await observerFolders()).filter((name) => !before.has(name)),
      [],
    );
  });

  await t.test('a node that joins late catches up and contributes', async () => {
    const late = lab.start('late', ['node', ...joined]);
    const { peerId } = await late.event('listening');
    nodes.push(late);
    const { policyStep } = await trainer.event('step', (step) => step.policyStep >= 4);
    await late.event('policy', (policy) => policy.policyStep >= policyStep);
    await askUntil<readonly RolloutRow[]>(lab, 'trainer', 'rollouts', (rows) =>
      rows.some((row) => row.peer === peerId && row.verdict === 'accept'),
    );
  });

  await t.test('Ctrl-C ends each within ten seconds, and what it knew is left', async () => {
    for (const process of [trainer, ...nodes]) {
      assert.deepEqual(await process.interrupt(), { code: 0, signal: null });
      assert.equal(process.events.at(-1)?.event, 'stopped');
    }
    const { counts } = await trainer.event('summary');
    assertAddsUp(counts);
    const status = (await look('status')) as Status;
    assert.equal(status.running, false);
    assert.deepEqual(status.training.groups, counts);
    const steps = trainer.events.filter((event) => event.event === 'step');
    assert.equal(status.training.policyStep, steps.at(-1)?.policyStep);
    assertSlotsWithoutGap((await look('rollouts', '--limit', '100000')) as RolloutRow[]);
    assert.deepEqual(await look('peers'), []);
    const { recipes } = (await look('recipes')) as Recipes;
    assert.deepEqual(
      recipes.map(({ recipeId, name }) => [recipeId, name]),
      [[status.recipes[0]?.recipeId, 'tiny-arrows']],
    );
    const evaluated = (await look('eval', '--tasks', '8', '--threads', '1')) as { policyStep: number; tasks: number };
    assert.deepEqual([evaluated.policyStep, evaluated.tasks], [status.training.policyStep, 8]);
    const nodeStatus = (await lab.ask(['status', '--data-dir', lab.dataDir('late')])) as Status;
    assert.deepEqual([nodeStatus.running, nodeStatus.role], [false, 'node']);
  });
});
