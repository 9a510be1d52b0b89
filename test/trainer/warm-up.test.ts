// Warm-up: what it imitates, that it learns, and that stopping and going on changes nothing.

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isSwarmError } from '../../node/protocol/errors.ts';
import { arrows } from '../../recipes/tasks/arrows.ts';
import { isHeldOut } from '../../recipes/tasks/task.ts';
import { openTrainingCore } from '../../trainer/engine/core.ts';
import type { SftSequence, TrainingEngine } from '../../trainer/engine/engine.ts';
import { type WarmUpProgress, warmUp } from '../../trainer/warm-up.ts';
import {
  createWarmUpBatches,
  thinkingShareAt,
  totalSteps,
  type WarmUpBatchesInit,
} from '../../trainer/warm-up-batches.ts';
import { TINY_CONFIG_JSON } from '../support/tiny-model.ts';

const END = 127;
const batchesInit = (change: Partial<WarmUpBatchesInit> = {}): WarmUpBatchesInit => ({
  tasks: [{ family: arrows, settings: { letters: 6, minHops: 3, maxHops: 5 }, weight: 1 }],
  phases: [
    { steps: 3, thinkingShare: 0.85 },
    { steps: 2, thinkingShare: 0.3 },
  ],
  sequencesPerStep: 200,
  seed: 1,
  encode: (text) => [...Buffer.from(text, 'latin1')],
  endToken: END,
  ...change,
});

/** Prompt and completion of a sequence, as the mask divides them. */
function split({ tokens, mask }: SftSequence): { prompt: string; completion: string } {
  const at = mask.indexOf(1);
  assert.ok(mask.subarray(at).every((on) => on === 1));
  assert.equal(tokens.at(-1), END);
  const text = Buffer.from(tokens).toString('latin1');
  return { prompt: text.slice(0, at), completion: text.slice(at, -1) };
}

test('batches show both ways to answer, right, in the share of their phase, and nothing held out', () => {
  const nextBatch = createWarmUpBatches(batchesInit());
  for (const [step, share] of [
    [0, 0.85],
    [4, 0.3],
  ] as const) {
    const batch = nextBatch(step).map(split);
    const thinking = batch.filter(({ completion }) => completion.startsWith('<'));
    assert.ok(Math.abs(thinking.length / batch.length - share) < 0.1);
    for (const { prompt, completion } of batch) {
      assert.ok(!isHeldOut(prompt));
      const shown = arrows.demonstrate({ prompt, answer: completion.at(-1)! });
      assert.ok(completion === shown.thinking || completion === shown.blurting);
      assert.equal(shown.thinking.at(-4), completion.at(-1), 'the last letter of the way is the answer');
    }
  }
});

test('a batch depends on the seed and the step alone', () => {
  const [a, b, c] = [
    createWarmUpBatches(batchesInit()),
    createWarmUpBatches(batchesInit()),
    createWarmUpBatches(batchesInit({ seed: 2 })),
  ];
  b(0);
  assert.deepEqual(a(3), b(3));
  assert.notDeepEqual(a(3), a(2));
  assert.notDeepEqual(a(3), c(3));
});

test('phases follow each other and the last one stays', () => {
  const { phases } = batchesInit();
  assert.equal(totalSteps(phases), 5);
  assert.deepEqual(
    [0, 2, 3, 4, 5, 99].map((step) => thinkingShareAt(phases, step)),
    [0.85, 0.85, 0.3, 0.3, 0.3, 0.3],
  );
});

test('a recipe of rows has nothing to imitate', () => {
  assert.throws(
    () => createWarmUpBatches(batchesInit({ tasks: [] })),
    (error) => isSwarmError(error, 'RECIPE_INVALID'),
  );
});

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-warm-up-'));
});
after(() => rm(dir, { recursive: true, force: true }));

const openTiny = (): Promise<TrainingEngine> =>
  openTrainingCore({
    source: { configJson: TINY_CONFIG_JSON, seed: 5 },
    objective: { loss: 'aipo', lossSettings: {}, klCoef: 0, entropyCoef: 0, normalisation: 'token', maxNewTokens: 8 },
    temperature: 1,
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
    schedule: { learningRate: 1e-2, warmUpSteps: 5 },
    clipNorm: 1,
    threads: 1,
  });

/** Copying: a letter, then the same letter. */
const copies = (step: number): SftSequence[] =>
  Array.from({ length: 16 }, (_, k) => {
    const letter = 2 + ((7 * k + step) % 10);
    return { tokens: Uint32Array.of(letter, 0, letter, 1), mask: Uint8Array.of(0, 0, 1, 1) };
  });

const run = (
  engine: TrainingEngine,
  steps: number,
  options: { signal?: AbortSignal; runId?: string; reports?: WarmUpProgress[] } = {},
) =>
  warmUp({
    engine,
    steps,
    nextBatch: copies,
    checkpoints: { dir: join(dir, 'checkpoints'), everySteps: 7, runId: options.runId ?? 'copies' },
    reportEverySteps: 10,
    onProgress: (progress) => options.reports?.push(progress),
    nowMs: () => 0,
    ...(options.signal ? { signal: options.signal } : {}),
  });

test('it learns to copy a letter', async () => {
  const engine = await openTiny();
  const reports: WarmUpProgress[] = [];
  assert.deepEqual(await run(engine, 60, { reports }), { step: 60, finished: true });
  assert.deepEqual(
    reports.map(({ step }) => step),
    [10, 20, 30, 40, 50, 60],
  );
  assert.ok(
    reports[0]!.meanLoss > 1 && reports.at(-1)!.meanLoss < 0.1,
    `${reports[0]!.meanLoss} to ${reports.at(-1)!.meanLoss}`,
  );
  await engine.close();
  await rm(join(dir, 'checkpoints'), { recursive: true });
});

test('a run that is stopped and taken up again ends with the same weights', async () => {
  const straight = await openTiny();
  await run(straight, 20);
  const expected = (await straight.policy()).policyRoot;
  await straight.close();
  await rm(join(dir, 'checkpoints'), { recursive: true });

  const stopper = new AbortController();
  const first = await openTiny();
  const stopping: TrainingEngine = {
    ...first,
    sft: async (sequences) => {
      const metrics = await first.sft(sequences);
      if (metrics.optimizerStep === 11) stopper.abort();
      return metrics;
    },
  };
  assert.deepEqual(await run(stopping, 20, { signal: stopper.signal }), { step: 11, finished: false });
  await first.close();
  assert.ok((await readdir(join(dir, 'checkpoints'))).includes('step-11'));

  const second = await openTiny();
  assert.deepEqual(await run(second, 20), { step: 20, finished: true });
  assert.deepEqual((await second.policy()).policyRoot, expected);
  await assert.rejects(run(second, 20, { runId: 'another' }), (error) => isSwarmError(error, 'CHECKPOINT_CORRUPT'));
  await second.close();
});
