// The smallest swarm as real processes: a trainer with its own verifier, two nodes, a third that comes late.
// What the inspecting commands show is held against what the processes themselves told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GroupCounts } from '../../node/cli/events.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { askUntil, assertAddsUp, assertSlotsWithoutGap, type RolloutRow, startRing } from '../support/ring.ts';

interface Status {
  readonly running: boolean;
  readonly role: string;
  readonly peerId: string;
  readonly connectedPeers: number;
  readonly recipes: readonly { readonly recipe: string; readonly state: string; readonly readyStep: number }[];
  readonly training: { readonly trainStep: number; readonly policyStep: number; readonly groups: GroupCounts };
  readonly eventLoopDelayMs: { readonly mean: number; readonly p99: number; readonly max: number };
  readonly blockedMs: { readonly p99: number; readonly max: number };
}

interface RolloutInFull extends RolloutRow {
  readonly prompt: string;
  readonly rollouts: readonly { readonly completion: string; readonly tokens: number; readonly reward: number }[];
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
      { recipes: readonly { name: string; state: string }[]; offers: readonly { peer: string; accepts: string }[] },
      readonly { policyStep: number; policyRoot: string; parentRoot: string | null; here: boolean; by: string }[],
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
      readonly { by: string; peer: string; answer: string; sequencesReplayed: number }[],
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
    const evaluated = (await look('eval', '--tasks', '8', '--threads', '1')) as { policyStep: number; tasks: number };
    assert.deepEqual([evaluated.policyStep, evaluated.tasks], [status.training.policyStep, 8]);
    const nodeStatus = (await lab.ask(['status', '--data-dir', lab.dataDir('late')])) as Status;
    assert.deepEqual([nodeStatus.running, nodeStatus.role], [false, 'node']);
  });
});
