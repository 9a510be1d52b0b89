// The train loop over scripted engines: what is trained, in which order, what ends how.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256 } from '../../node/protocol/bytes.ts';
import { ACCEPT, reject } from '../../node/protocol/check.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import { inParts } from '../../trainer/train.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { recordingLogger } from '../support/silent-logger.ts';
import { GROUP_SIZE, START_ROOT, trainerBench, trainerRecipe } from '../support/trainer-bench.ts';
import { bench, feed, PEERS, slowDisk } from '../support/trainer-run.ts';
import { until } from '../support/until.ts';

test('a step: a batch of groups, updates of sequences, checkpoint, then publication', async (t) => {
  const made = bench(t, { maxSteps: 2 });
  await made.trainer.start();
  assert.deepEqual([...made.disk.published], [[0, START_ROOT]]);
  feed(made, 3);
  assert.equal(await made.trainer.run(), 'finished');
  assert.equal(made.disk.published.size, 3);
  assert.equal(made.steps.length, 2);
  const [first] = made.steps;
  assert.equal(first!.groups, 3);
  assert.equal(first!.sequences, 3 * GROUP_SIZE);
  assert.equal(first!.updates, 2);
  assert.equal(first!.rewardMean, 0.25);
  assert.equal(first!.lagMax, 0);
  assert.deepEqual(
    made.engine.updates.map(({ sequences, scheduleStep }) => [sequences.length, scheduleStep]),
    [
      [6, 0],
      [6, 0],
      [6, 1],
      [6, 1],
    ],
  );
  // One right of four: advantages 0.75 and −0.25, log-probs those of the replay.
  const worth = made.engine.updates[0]!.sequences.map(({ advantage }) => advantage);
  assert.deepEqual(worth, [0.75, -0.25, -0.25, -0.25, 0.75, -0.25]);
  assert.equal(made.engine.updates[0]!.sequences[0]!.logprobsWorker[1], Math.fround(-0.2));
  assert.deepEqual(made.announced.at(-1), { wantGroups: 0, closing: true });
  assert.equal(made.trainer.counts().trained, 6);
  assertAddsUp(made.trainer.counts());
});

test('parts of a batch are as equal as can be and never over the limits', () => {
  const sizes = (total: number, size: number, most: number): number[] =>
    inParts(
      Array.from({ length: total }, (_, i) => i),
      size,
      most,
    ).map((part) => part.length);
  assert.deepEqual(sizes(256, 128, 2), [128, 128]);
  assert.deepEqual(sizes(131, 128, 2), [65, 66]);
  assert.deepEqual(sizes(300, 128, 2), [128, 128]);
  assert.deepEqual(sizes(5, 128, 2), [5]);
});

test('zero-advantage groups are dropped and counted, rejected ones are never trained, strangers have no say', async (t) => {
  const made = bench(t, { maxSteps: 1 });
  await made.trainer.start();
  const running = made.trainer.run();
  const [a, b, c] = PEERS as [KeyPair, KeyPair, KeyPair];
  await made.accepted({ peer: a, policyStep: 0, slot: 0, rewards: [0, 0, 0, 0] });
  await made.judge(await made.announce({ peer: a, policyStep: 0, slot: 1 }), 'reject', 'LOGPROB_DRIFT');
  const pending = await made.announce({ peer: a, policyStep: 0, slot: 2 });
  await made.judge(pending, 'accept', undefined, createKeyPair());
  await made.judge(pending, 'reject', 'REPLAY_MISMATCH', createKeyPair());
  await made.judge(await made.announce({ peer: a, policyStep: 0, slot: 3 }), 'ignore', 'BORDERLINE');
  for (const peer of [a, b, c]) await made.accepted({ peer, policyStep: 0, slot: 9 });
  await running;
  assert.deepEqual(made.trainer.counts(), {
    announced: 7,
    trained: 3,
    rejected: 1,
    stale: 0,
    dropped: 2,
    pending: 1,
    reasons: { 'dropped.zeroAdvantage': 1, 'rejected.LOGPROB_DRIFT': 1, 'dropped.BORDERLINE': 1 },
  });
});

test('a verdict that comes before its group counts', async (t) => {
  const other = trainerBench();
  await other.trainer.start();
  const message = await other.announce({ peer: PEERS[0]!, policyStep: 0, slot: 0 });
  await other.trainer.stop();
  const made = bench(t, { maxSteps: 1 });
  await made.trainer.start();
  await made.judge(message, 'reject');
  await made.inbox.deliver(message, made.recipe.recipeIdHex);
  assert.equal(made.trainer.counts().rejected, 1);
});

test('groups more than maxLag steps old are stale when the batch is formed', async (t) => {
  const made = bench(t, { maxSteps: 3 });
  await made.trainer.start();
  const slow = await made.announce({ peer: PEERS[0]!, policyStep: 0, slot: 99 });
  feed(made, 3);
  await made.trainer.run();
  await made.judge(slow, 'accept');
  assert.equal(made.trainer.counts().stale, 0, 'at step 2 it was within the bound');
  await made.trainer.stop();
  const again = bench(t, { disk: made.disk, maxSteps: 4 });
  await again.trainer.start();
  feed(again, 3);
  await again.trainer.run();
  assert.equal(again.trainer.counts().stale, 1);
  assertAddsUp(again.trainer.counts());
});

test('groups of quarantined peers that wait are dropped', async (t) => {
  const quarantined = new Set<string>();
  const made = bench(t, { maxSteps: 1, components: { isQuarantined: (peer) => quarantined.has(peer) } });
  await made.trainer.start();
  const bad = await made.accepted({ peer: PEERS[0]!, policyStep: 0, slot: 0 });
  quarantined.add(bad.peerIdString);
  for (const slot of [0, 1, 2]) await made.accepted({ peer: PEERS[1]!, policyStep: 0, slot });
  await made.trainer.run();
  assert.equal(made.trainer.counts().reasons['dropped.QUARANTINED'], 1);
  assert.equal(made.trainer.counts().trained, 3);
});

test('a peer that verifiers rejected twice is left out, its other groups too; once it has a second chance', async (t) => {
  const made = bench(t, { maxSteps: 1 });
  await made.trainer.start();
  const [bad, unlucky, good] = PEERS as [KeyPair, KeyPair, KeyPair];
  await made.accepted({ peer: bad, policyStep: 0, slot: 9 });
  for (const slot of [0, 1]) await made.judge(await made.announce({ peer: bad, policyStep: 0, slot }), 'reject');
  await made.judge(await made.announce({ peer: unlucky, policyStep: 0, slot: 0 }), 'reject');
  await made.accepted({ peer: unlucky, policyStep: 0, slot: 1 });
  for (const slot of [0, 1]) await made.accepted({ peer: good, policyStep: 0, slot });
  await made.trainer.run();
  const { reasons, trained } = made.trainer.counts();
  assert.deepEqual(reasons, { 'rejected.REPLAY_MISMATCH': 3, 'dropped.QUARANTINED': 1 });
  assert.equal(trained, 3);
});

test('what fails the trainer’s own replay is rejected, told and replaced', async (t) => {
  const told: string[] = [];
  const made = bench(t, {
    maxSteps: 1,
    components: {
      onRejected: (_groupId, answer) => void told.push(answer.answer === 'accept' ? '' : answer.code),
      checkReplay: async ({ slot }, _body, replayed) =>
        replayed.map((_, sequence) => (slot === 7 && sequence === 2 ? reject('REPLAY_MISMATCH') : ACCEPT)),
    },
  });
  await made.trainer.start();
  for (const slot of [0, 7]) await made.accepted({ peer: PEERS[0]!, policyStep: 0, slot });
  await made.accepted({ peer: PEERS[1]!, policyStep: 0, slot: 0 });
  const running = made.trainer.run();
  await until(() => made.trainer.counts().rejected === 1, 'rejected');
  assert.equal(made.engine.updates.length, 0, 'the batch waits for another');
  assert.deepEqual(told, ['REPLAY_MISMATCH']);
  await made.accepted({ peer: PEERS[2]!, policyStep: 0, slot: 0 });
  await running;
  assert.equal(made.trainer.counts().trained, 3);
  assertAddsUp(made.trainer.counts());
});

test('a body that stage 1 refuses is rejected, one that is nowhere to be had is dropped', async (t) => {
  const made = bench(t, {
    maxSteps: 1,
    recipe: trainerRecipe({ staleness: { maxLagSteps: 2, keepPolicies: 3, bodyTimeoutMs: 100 } }),
    components: {
      checkBody: (announcement) =>
        announcement.slot === 5 ? { answer: 'reject', code: 'REWARD_MISMATCH' } : { answer: 'accept' },
    },
  });
  await made.trainer.start();
  await made.accepted({ peer: PEERS[0]!, policyStep: 0, slot: 5 });
  const gone = await made.announce({ peer: PEERS[0]!, policyStep: 0, slot: 6 });
  for await (const { hashHex } of made.disk.blobs.list()) await made.disk.blobs.delete(hashHex);
  await made.judge(gone, 'accept');
  await until(() => made.trainer.counts().dropped === 1, 'dropped');
  assert.deepEqual(made.trainer.counts().reasons, { 'rejected.REWARD_MISMATCH': 1, 'dropped.BODY_MISSING': 1 });
});

test('after maxStepWaitMs a step is taken with what there is; before, a hungry trainer asks for more', async (t) => {
  const clock = fakeClock();
  const made = bench(t, { maxSteps: 1, clock });
  await made.trainer.start();
  const running = made.trainer.run();
  await clock.advance(1_000);
  await made.accepted({ peer: PEERS[0]!, policyStep: 0, slot: 0 });
  await clock.advance(4_000);
  assert.ok(made.announced.length >= 1, 'more is asked for');
  assert.ok(made.announced[0]!.wantGroups! > 1);
  assert.equal(made.steps.length, 0);
  await clock.advance(60_000);
  await running;
  assert.equal(made.steps[0]!.groups, 1);
});

test('a trainer whose peers have used all slots and taught nothing says so', async (t) => {
  const clock = fakeClock();
  const { logger, lines } = recordingLogger();
  const staleness = { maxLagSteps: 2, keepPolicies: 3, maxSlotsPerStep: 2 };
  const made = bench(t, { clock, recipe: trainerRecipe({ staleness }), components: { logger } });
  await made.trainer.start();
  const running = made.trainer.run();
  const warned = () => lines.filter(({ message }) => message.includes('raise staleness.maxSlotsPerStep')).length;
  const rewards = [0, 0, 0, 0];
  for (const peer of PEERS.slice(0, 2)) await made.accepted({ peer, policyStep: 0, slot: 0, rewards });
  await made.accepted({ peer: PEERS[0]!, policyStep: 0, slot: 1, rewards });
  await clock.advance(4_000);
  assert.equal(warned(), 0, 'a peer has a slot left');
  await made.accepted({ peer: PEERS[1]!, policyStep: 0, slot: 1, rewards });
  await clock.advance(4_000);
  assert.equal(warned(), 1);
  await made.trainer.stop();
  await running;
});

/** Whether one of the sequences is of this peer's group in a slot (see bodyOf in trainer-bench). */
function holds(sequences: readonly { readonly tokens: Uint32Array }[], peer: KeyPair, slot: number): boolean {
  const mark = [...sha256(peer.peerId).subarray(0, 3), 0, slot].join('.');
  return sequences.some(({ tokens }) => tokens.join('.').startsWith(`${mark}.`));
}

test('a step that is not finite is undone; the group to blame is dropped, the others are trained', async (t) => {
  const made = bench(t, { maxSteps: 1 });
  const [a, b, c] = PEERS as [KeyPair, KeyPair, KeyPair];
  made.engine.isFinite = (_, sequences) => !holds(sequences, b, 0);
  await made.trainer.start();
  const running = made.trainer.run();
  for (const peer of PEERS) await made.accepted({ peer, policyStep: 0, slot: 0 });
  await until(() => made.trainer.counts().dropped === 1, 'dropped');
  assert.deepEqual(made.engine.learned(), [], 'what was tried is taken back');
  await made.accepted({ peer: b, policyStep: 0, slot: 1 });
  await running;
  const learned = made.engine.learned().map((tokens) => ({ tokens: Uint32Array.from(tokens.split('.').map(Number)) }));
  assert.equal(learned.length, 3 * GROUP_SIZE);
  for (const [peer, slot] of [
    [a, 0],
    [c, 0],
    [b, 1],
  ] as const)
    assert.ok(holds(learned, peer, slot));
  const { trained, reasons } = made.trainer.counts();
  assert.deepEqual([trained, reasons], [3, { 'dropped.nonFinite': 1 }]);
  assert.equal(made.disk.published.size, 2);
  assertAddsUp(made.trainer.counts());
});

test('when no group alone is to blame, the batch is dropped and training goes on', async (t) => {
  const made = bench(t, { maxSteps: 1 });
  made.engine.isFinite = (update) => update !== 2;
  await made.trainer.start();
  const running = made.trainer.run();
  for (const peer of PEERS) await made.accepted({ peer, policyStep: 0, slot: 0 });
  await until(() => made.trainer.counts().dropped === 3, 'dropped');
  assert.deepEqual(made.engine.learned(), [], 'the first update is taken back too');
  for (const peer of PEERS) await made.accepted({ peer, policyStep: 0, slot: 1 });
  await running;
  assert.equal(made.engine.learned().length, 12);
  assert.equal(made.trainer.counts().reasons['dropped.nonFinite'], 3);
});

test('bad rollouts that the policy has left behind are left out where the recipe says so', async (t) => {
  const grpo = { promptsPerStep: 3, sequencesPerUpdate: 6, maxUpdatesPerStep: 2, learningRate: 1e-5 };
  // The scripted engines: sampled at −0.1, −0.2, −0.3, …; −0.5 a token under the weights that learn.
  for (const [maxDrift, sequences] of [
    [0.2, 3],
    [0.4, 12],
  ] as const) {
    const made = bench(t, { maxSteps: 1, recipe: trainerRecipe({ grpo: { ...grpo, maxDrift } }) });
    await made.trainer.start();
    const running = made.trainer.run();
    for (const peer of PEERS) await made.accepted({ peer, policyStep: 0, slot: 0 });
    await running;
    assert.deepEqual([made.steps[0]!.sequences, made.steps[0]!.leftOut], [sequences, 12 - sequences]);
    assert.ok(made.engine.updates.flatMap((each) => each.sequences).every((each) => each.logprobsOld !== undefined));
  }
});

test('tokens far from the policy that sampled them are masked where the recipe says so', async (t) => {
  const grpo = { promptsPerStep: 3, sequencesPerUpdate: 16, maxUpdatesPerStep: 1, learningRate: 1e-5 };
  // Sampled at −0.1, −0.2, −0.3, … a rollout, −0.5 now: log² w from 0.16 down.
  const made = bench(t, { maxSteps: 1, recipe: trainerRecipe({ grpo: { ...grpo, maxSecondMoment: 0.04 } }) });
  await made.trainer.start();
  const running = made.trainer.run();
  for (const peer of PEERS) await made.accepted({ peer, policyStep: 0, slot: 0 });
  await running;
  const learned = made.engine.updates.flatMap((each) => each.sequences);
  const kept = learned.flatMap(({ mask, logprobsWorker }) => [...logprobsWorker].filter((_, k) => mask![k] === 1));
  const gone = learned.flatMap(({ mask, logprobsWorker }) => [...logprobsWorker].filter((_, k) => mask![k] === 0));
  const moment = kept.reduce((sum, lp) => sum + (lp + 0.5) ** 2, 0) / kept.length;
  assert.ok(gone.length > 0 && moment < 0.04, `${gone.length} gone, ${moment}`);
  assert.ok(Math.min(...gone.map((lp) => Math.abs(lp + 0.5))) >= Math.max(...kept.map((lp) => Math.abs(lp + 0.5))));
});

test('the order of the batch does not depend on arrival', async (t) => {
  const orders = await Promise.all(
    [
      [0, 1, 2, 3, 4, 5],
      [5, 3, 1, 4, 2, 0],
    ].map(async (slots) => {
      const made = bench(t, { maxSteps: 1 });
      await made.trainer.start();
      for (const slot of slots) await made.accepted({ peer: PEERS[slot % 3]!, policyStep: 0, slot });
      await made.trainer.run();
      return made.engine.learned();
    }),
  );
  assert.deepEqual(orders[0], orders[1]);
});

test('the times of steps add up: what was replayed while a step was written is not counted again', async (t) => {
  const clock = fakeClock();
  const [disk, replayed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { around } = slowDisk(disk.promise);
  let count = 0;
  const made = bench(t, {
    clock,
    maxSteps: 2,
    around(components) {
      const { policies, engine, ...rest } = around!(components);
      return {
        ...rest,
        policies: {
          ...policies,
          async replay(...args) {
            if (++count === 2) await replayed.promise;
            return policies.replay(...args);
          },
        },
        engine: {
          ...engine,
          async policy() {
            await clock.sleep(made.engine.updates.length === 4 ? 2_000 : 0);
            return engine.policy();
          },
        },
      };
    },
  });
  await made.trainer.start();
  for (let slot = 0; slot < 6; slot++) await made.accepted({ peer: PEERS[slot % 3]!, policyStep: 0, slot });
  const running = made.trainer.run();
  await until(() => count === 2, 'the second batch is being replayed');
  await clock.advance(10_000);
  disk.resolve();
  await until(() => made.steps.length === 1, 'the first step is done');
  await clock.advance(3_000);
  replayed.resolve();
  await until(() => made.engine.updates.length === 4, 'the second step is learned');
  await clock.advance(2_000);
  await running;
  assert.deepEqual(
    made.steps.map(({ seconds }) => seconds),
    [
      { waiting: 0, replaying: 0, updating: 0, checkpointing: 10, publishing: 0 },
      { waiting: 0, replaying: 3, updating: 2, checkpointing: 0, publishing: 0 },
    ],
  );
});
