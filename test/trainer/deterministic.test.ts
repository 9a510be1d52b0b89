// `--deterministic`: what a batch is made of depends on what was accepted, not on when it came.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../node/protocol/bytes.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { GROUP_SIZE, trainerRecipe, VERIFIER } from '../support/trainer-bench.ts';
import { bench, PEERS, replays, slowDisk } from '../support/trainer-run.ts';
import { until } from '../support/until.ts';

test('deterministic: the same groups give the same batches, whenever their verdicts come', async (t) => {
  const runs: (readonly string[])[] = [];
  for (const order of [
    [0, 1, 2, 3, 4, 5, 6],
    [6, 2, 5, 1, 4, 0, 3],
  ]) {
    const made = bench(t, { maxSteps: 2, deterministic: true });
    await made.trainer.start();
    const running = made.trainer.run();
    const announced = [];
    for (let slot = 0; slot < 7; slot++) {
      announced.push(await made.announce({ peer: PEERS[slot % 3]!, policyStep: 0, slot }));
    }
    for (const at of order) {
      // A rejected group is settled too.
      await made.judge(announced[at]!, at === 3 ? 'reject' : 'accept');
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    await running;
    runs.push(made.engine.learned());
    assert.equal(made.trainer.counts().trained, 6);
  }
  assert.equal(runs[0]!.length, 6 * GROUP_SIZE);
  assert.deepEqual(runs[0], runs[1]);
});

test('deterministic: no patience cuts a batch short', async (t) => {
  const clock = fakeClock();
  const made = bench(t, { maxSteps: 1, clock, deterministic: true });
  await made.trainer.start();
  const running = made.trainer.run();
  for (const slot of [0, 1]) await made.accepted({ peer: PEERS[slot]!, policyStep: 0, slot });
  await clock.advance(500_000);
  assert.equal(made.steps.length, 0);
  assert.ok(made.announced.length >= 1, 'more is asked for');
  await made.accepted({ peer: PEERS[2]!, policyStep: 0, slot: 2 });
  await clock.advance(1_000);
  await running;
  assert.equal(made.steps[0]!.groups, 3);
});

test('deterministic: groups that every verifier leaves open hold up no batch', { timeout: 20_000 }, async (t) => {
  const verification = { acceptance: { rule: 'standing' } };
  // The trainer's own key, and named by the recipe as well.
  const ownVerifier = toHex(VERIFIER.publicKey);
  for (const recipe of [trainerRecipe({ verification }), trainerRecipe()]) {
    const made = bench(t, { maxSteps: 1, recipe, ownVerifier, deterministic: true });
    await made.trainer.start();
    const running = made.trainer.run();
    const open = await made.announce({ peer: PEERS[0]!, policyStep: 0, slot: 9 });
    for (const slot of [0, 1, 2]) await made.accepted({ peer: PEERS[slot]!, policyStep: 0, slot });
    await made.judge(open, 'ignore', 'NOT_CHECKED');
    assert.equal(await running, 'finished');
    assert.equal(made.trainer.counts().trained, 3);
  }
});

test('deterministic: a batch is not begun before the step before is published', async (t) => {
  const disk = Promise.withResolvers<void>();
  const made = bench(t, { maxSteps: 2, deterministic: true, ...slowDisk(disk.promise) });
  await made.trainer.start();
  for (let slot = 0; slot < 6; slot++) await made.accepted({ peer: PEERS[slot % 3]!, policyStep: 0, slot });
  const running = made.trainer.run();
  await until(() => made.engine.updates.length === 2, 'the first step is learned');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(replays(made), 1);
  disk.resolve();
  assert.equal(await running, 'finished');
  assert.equal(replays(made), 2);
});
