// The train loop over scripted engines: crashes at every moment, stops, slow and broken disks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SwarmError } from '../../node/protocol/errors.ts';
import { interruptedError } from '../../trainer/engine/interruption.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { assassin, Killed } from '../support/crashing.ts';
import {
  GROUP_SIZE,
  newTrainerDisk,
  type TrainerBench,
  type TrainerDisk,
  trainerBench,
  trainerRecipe,
} from '../support/trainer-bench.ts';
import { bench, feed, PEERS, replays, slowDisk } from '../support/trainer-run.ts';
import { until } from '../support/until.ts';

async function finish(disk: TrainerDisk): Promise<TrainerBench> {
  const made = trainerBench({ disk, maxSteps: 2 });
  await made.trainer.start();
  feed(made, 4);
  await made.trainer.run();
  await made.trainer.stop();
  return made;
}

test('killed at any moment of any step: the restarted trainer goes on, and no group is trained twice', async () => {
  let moments = 0;
  for (let isOver = false; !isOver; moments++) {
    const at = moments;
    const disk = newTrainerDisk();
    const killer = assassin(at);
    const first = trainerBench({
      disk,
      maxSteps: 2,
      around: (components) => ({
        ...components,
        engine: killer.watch(components.engine, ['update', 'policy', 'saveCheckpoint', 'restore']),
        publisher: killer.watch(components.publisher, ['publish', 'announce']),
        policies: killer.watch(components.policies, ['replay']),
        records: killer.watch(components.records, ['batch', 'get']),
        blobs: killer.watch(components.blobs, ['put']),
      }),
    });
    feed(first, 4);
    const outcome = await first.trainer
      .start()
      .then(() => first.trainer.run())
      .catch((error: unknown) => error);
    isOver = killer.struck() === null;
    await first.trainer.stop().catch(() => undefined);
    assert.ok(killer.struck() === null || outcome instanceof Killed || outcome === 'finished', String(outcome));

    const second = await finish(disk);
    const learned = second.engine.learned();
    const where = `killed ${killer.struck()} (moment ${at})`;
    assert.equal(new Set(learned).size, learned.length, `${where}: a sequence was trained twice`);
    assert.equal(learned.length, 2 * 3 * GROUP_SIZE, where);
    assert.deepEqual([...disk.published.keys()].sort(), [0, 1, 2], where);
    const counts = second.trainer.counts();
    assert.equal(counts.trained, 6, where);
    assertAddsUp(counts, where);
  }
  assert.ok(moments > 30, `${moments} moments were tried`);
});

test('a stop in mid-step gives it up: nothing of it is kept, and the groups are trained once by the next trainer', async (t) => {
  const disk = newTrainerDisk();
  const first = bench(t, { disk, maxSteps: 2 });
  await first.trainer.start();
  feed(first, 3);
  first.engine.isSlow = true;
  const running = first.trainer.run();
  await until(() => first.engine.updates.length === 1, 'an update is under way');
  await first.trainer.stop();
  assert.equal(await running, 'stopped');
  assert.deepEqual([disk.checkpoints.length, disk.published.size], [1, 1]);
  assert.equal(first.trainer.counts().pending, 3);
  const second = bench(t, { disk, maxSteps: 1 });
  await second.trainer.start();
  assert.equal(await second.trainer.run(), 'finished');
  assert.equal(new Set(second.engine.learned()).size, 3 * GROUP_SIZE);
  assert.equal(second.engine.learned().length, 3 * GROUP_SIZE);
  assert.equal(second.trainer.counts().trained, 3);
});

test('while a step is written the next batch is gathered; nothing is published, and no weight changes, before it is', async (t) => {
  const disk = Promise.withResolvers<void>();
  const made = bench(t, { maxSteps: 2, ...slowDisk(disk.promise) });
  await made.trainer.start();
  for (let slot = 0; slot < 6; slot++) await made.accepted({ peer: PEERS[slot % 3]!, policyStep: 0, slot });
  const running = made.trainer.run();
  await until(() => replays(made) === 2, 'the second batch is replayed');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([made.disk.published.size, made.disk.checkpoints.length, made.engine.updates.length], [1, 1, 2]);
  assert.equal(made.trainer.counts().trained, 0);
  disk.resolve();
  assert.equal(await running, 'finished');
  assert.deepEqual([made.disk.published.size, made.disk.checkpoints.length, made.engine.updates.length], [3, 3, 4]);
  assert.equal(made.trainer.counts().trained, 6);
});

test('a checkpoint that cannot be written ends a trainer that waits for groups', async (t) => {
  const disk = Promise.withResolvers<void>();
  const made = bench(t, slowDisk(disk.promise));
  await made.trainer.start();
  const running = assert.rejects(made.trainer.run(), { code: 'DISK_FULL' });
  for (const slot of [0, 1, 2]) await made.accepted({ peer: PEERS[slot]!, policyStep: 0, slot });
  await until(() => made.engine.updates.length === 2, 'a step is learned');
  disk.reject(new SwarmError('DISK_FULL', 'no room'));
  await running;
  assert.equal(made.disk.published.size, 1);
});

test('a checkpoint that cannot be written says so, though it cuts a replay short', async (t) => {
  const disk = Promise.withResolvers<void>();
  const { around: slow } = slowDisk(disk.promise);
  let replayed = 0;
  const made = bench(t, {
    around: (components) => {
      const { engine, policies, ...rest } = slow!(components);
      const replay: typeof policies.replay = async (root, sampling, sequences, signal) => {
        if (++replayed === 1) return policies.replay(root, sampling, sequences, signal);
        await new Promise((resolve) => signal!.addEventListener('abort', resolve));
        throw interruptedError();
      };
      return { ...rest, engine, policies: { ...policies, replay } };
    },
  });
  await made.trainer.start();
  for (let slot = 0; slot < 6; slot++) await made.accepted({ peer: PEERS[slot % 3]!, policyStep: 0, slot });
  const running = assert.rejects(made.trainer.run(), { code: 'DISK_FULL' });
  await until(() => replayed === 2, 'the second batch is being replayed');
  disk.reject(new SwarmError('DISK_FULL', 'no room'));
  await running;
});

test('a step that never became durable ends no group: what was too old for it waits for the next trainer', async (t) => {
  const disk = Promise.withResolvers<void>();
  const first = bench(t, { disk: newTrainerDisk(), ...slowDisk(disk.promise, 3) });
  await first.trainer.start();
  const old = await first.announce({ peer: PEERS[0]!, policyStep: 0, slot: 99 });
  const running = assert.rejects(first.trainer.run(), { code: 'DISK_FULL' });
  feed(first, 3);
  await until(() => first.engine.updates.length === 6, 'the third step is learned');
  await first.judge(old, 'accept');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const { stale: ended } = first.trainer.counts();
  disk.reject(new SwarmError('DISK_FULL', 'no room'));
  await running;
  assert.deepEqual([ended, replays(first)], [0, 3]);
  await first.trainer.stop();
  const second = bench(t, { disk: first.disk, maxSteps: 3 });
  await second.trainer.start();
  const { trained, pending, stale } = second.trainer.counts();
  assert.deepEqual([trained, pending, stale], [6, 4, 0]);
});

test('a lost checkpoint: what it published keeps its root, training goes on behind it', async (t) => {
  const disk = newTrainerDisk();
  const first = trainerBench({ disk, maxSteps: 2 });
  await first.trainer.start();
  feed(first, 3);
  await first.trainer.run();
  await first.trainer.stop();
  disk.checkpoints.pop();
  let isStarted = false;
  const { files } = disk.chain;
  Object.assign(disk.chain, { files: async (root: string) => (isStarted ? files(root) : null) });
  const second = bench(t, { disk, maxSteps: 3 });
  await second.trainer.start();
  isStarted = true;
  feed(second, 3);
  await second.trainer.run();
  assert.deepEqual([...disk.published.keys()], [0, 1, 2, 3]);
  assertAddsUp(second.trainer.counts());
});

test('a checkpoint of another recipe is refused', async (t) => {
  const disk = newTrainerDisk();
  const first = trainerBench({ disk });
  await first.trainer.start();
  await first.trainer.stop();
  const second = bench(t, { disk, recipe: trainerRecipe({ description: 'another one' }) });
  await assert.rejects(second.trainer.start(), { code: 'CHECKPOINT_CORRUPT' });
});

test('a stop ends a trainer that waits, and nothing is lost', async (t) => {
  const made = bench(t);
  await made.trainer.start();
  const running = made.trainer.run();
  await made.accepted({ peer: PEERS[0]!, policyStep: 0, slot: 0 });
  await made.trainer.stop();
  assert.equal(await running, 'stopped');
  assert.equal(made.trainer.counts().pending, 1);
});
