// The training engine: learns, adds micro-batches up exactly, undoes what is not finite, goes on where it stopped.

import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { openTrainingCore } from '../../../trainer/engine/core.ts';
import { createTrainingEngine } from '../../../trainer/engine/create.ts';
import type { TrainingEngine, TrainingEngineInit, TrainSequence } from '../../../trainer/engine/engine.ts';
import { createInterruption } from '../../../trainer/engine/interruption.ts';
import { LOSSES, type LossName } from '../../../trainer/grpo/losses.ts';
import { parseSafetensors } from '../../support/parse-safetensors.ts';
import { TINY_CONFIG_JSON } from '../../support/tiny-model.ts';

const initOf = (change: Partial<TrainingEngineInit> = {}, loss: LossName = 'aipo', klCoef = 0): TrainingEngineInit => ({
  source: { configJson: TINY_CONFIG_JSON, seed: 3 },
  objective: { loss, lossSettings: {}, klCoef, entropyCoef: 0, normalisation: 'token', maxNewTokens: 8 },
  temperature: 0.7,
  optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01 },
  schedule: { learningRate: 1e-2, warmUpSteps: 0 },
  clipNorm: 1,
  threads: 1,
  ...change,
});

/** Ragged completions with both signs of advantage. */
const completions = (): { prompt: Uint32Array; tokens: Uint32Array }[] =>
  [
    [
      [2, 3],
      [4, 5, 1],
    ],
    [
      [2, 3, 4, 5],
      [6, 1],
    ],
    [[7], [8, 9, 10, 11, 1]],
    [[3, 3, 3], [1]],
  ].map(([prompt, tokens]) => ({ prompt: Uint32Array.from(prompt!), tokens: Uint32Array.from(tokens!) }));

async function onPolicy(engine: TrainingEngine): Promise<TrainSequence[]> {
  const sequences = completions();
  const logprobs = await engine.logprobs(sequences);
  return sequences.map((sequence, index) => ({
    ...sequence,
    advantage: index % 2 === 0 ? 1 : -0.5,
    logprobsWorker: logprobs[index]!,
  }));
}

const weightsOf = async (engine: TrainingEngine) => (await engine.policy()).safetensors;

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-engine-'));
});
after(() => rm(dir, { recursive: true, force: true }));

test('log-probs do not depend on what they are batched with', async () => {
  const whole = await openTrainingCore(initOf());
  const single = await openTrainingCore(initOf({ microBatchTokens: 1 }));
  const [a, b] = [await whole.logprobs(completions()), await single.logprobs(completions())];
  for (const [i, { tokens }] of completions().entries()) {
    assert.equal(a[i]!.length, tokens.length);
    for (const [k, value] of a[i]!.entries()) assert.ok(Math.abs(value - b[i]![k]!) < 1e-5 && value < 0);
  }
  assert.deepEqual(await whole.logprobs([]), []);
  await whole.close();
  await single.close();
});

test('the gradient of micro-batches is that of the batch, for every normalisation', async () => {
  for (const normalisation of ['token', 'sequence', 'constant'] as const) {
    const steps = [];
    for (const microBatchTokens of [1000, 1]) {
      const init = initOf({ microBatchTokens });
      const engine = await openTrainingCore({ ...init, objective: { ...init.objective, normalisation } });
      steps.push(await engine.update(await onPolicy(engine)));
      await engine.close();
    }
    const [whole, parts] = steps as [(typeof steps)[0], (typeof steps)[0]];
    for (const key of ['loss', 'gradientNorm', 'entropy'] as const) {
      assert.ok(
        Math.abs(whole[key] - parts[key]) < 1e-5 * Math.max(1, Math.abs(whole[key])),
        `${normalisation} ${key}`,
      );
    }
  }
});

test('masked tokens add nothing: a mask and its opposite add up to the whole', async () => {
  const losses = [];
  for (const stays of [() => true, (k: number) => k % 2 === 0, (k: number) => k % 2 === 1]) {
    const engine = await openTrainingCore(initOf());
    const sequences = (await onPolicy(engine)).map((each) => ({
      ...each,
      mask: Uint8Array.from(each.tokens, (_, k) => (stays(k) ? 1 : 0)),
    }));
    const { loss, maskedShare } = await engine.update(sequences);
    losses.push({ loss, maskedShare });
    await engine.close();
  }
  const [all, even, odd] = losses as [(typeof losses)[0], (typeof losses)[0], (typeof losses)[0]];
  assert.ok(Math.abs(even.loss + odd.loss - all.loss) < 1e-6 && Math.abs(odd.loss) > 1e-3, JSON.stringify(losses));
  assert.deepEqual([all.maskedShare, even.maskedShare, odd.maskedShare], [0, 4 / 11, 7 / 11]);
});

test('every loss raises what was good and lowers what was bad', async () => {
  for (const loss of Object.keys(LOSSES) as LossName[]) {
    const engine = await openTrainingCore(initOf({ schedule: { learningRate: 1e-3, warmUpSteps: 0 } }, loss));
    const sequences = await onPolicy(engine);
    const metrics = await engine.update(sequences);
    assert.ok(metrics.essShare > 0.999 && metrics.meanLog2w < 1e-9 && Math.abs(metrics.klEstimate) < 1e-6, loss);
    assert.deepEqual([metrics.tokens, metrics.sequences, metrics.optimizerStep], [11, 4, 1]);
    const later = await engine.logprobs(sequences);
    const gain = sequences.reduce(
      (sum, { advantage, logprobsWorker }, i) =>
        sum + advantage * later[i]!.reduce((s, lp, k) => s + lp - logprobsWorker[k]!, 0),
      0,
    );
    assert.ok(gain > 1e-3, `${loss}: ${gain}`);
    await engine.close();
  }
});

test('with a KL term alone the weights are drawn back to the reference', async () => {
  const engine = await openTrainingCore(initOf({ schedule: { learningRate: 3e-3, warmUpSteps: 0 } }, 'aipo', 1));
  const reference = await engine.logprobs(completions());
  const pushed = await onPolicy(engine);
  for (let k = 0; k < 3; k++)
    await engine.update(pushed.map((sequence) => ({ ...sequence, advantage: 30 * sequence.advantage })));
  const distance = async () =>
    (await engine.logprobs(completions())).reduce(
      (sum, row, i) => sum + row.reduce((s, lp, k) => s + (lp - reference[i]![k]!) ** 2, 0),
      0,
    );
  const far = await distance();
  for (let k = 0; k < 30; k++)
    await engine.update((await onPolicy(engine)).map((sequence) => ({ ...sequence, advantage: 0 })));
  const near = await distance();
  assert.ok(near < far / 2, `${near} after ${far}`);
  await engine.close();
});

test('the reference of the KL term is the model that training began with, also after a restart', async () => {
  const folder = await mkdtemp(join(dir, 'kl-'));
  const engine = await openTrainingCore(initOf({}, 'aipo', 1));
  const sequences = await onPolicy(engine);
  await engine.update(sequences);
  await engine.saveCheckpoint(folder, { step: 1, recipeId: 'r', consumed: [], extra: null });
  const expected = await engine.update(sequences);
  await engine.close();
  const resumed = await openTrainingCore(initOf({}, 'aipo', 1));
  await resumed.restore(folder);
  assert.equal((await resumed.update(sequences)).loss, expected.loss);
  await resumed.close();
  // With the restored weights as reference the KL term would begin at 0.
  const without = await openTrainingCore(initOf({}, 'aipo', 0));
  await without.restore(folder);
  assert.notEqual((await without.update(sequences)).loss, expected.loss);
  await without.close();
});

test('an entropy bonus alone makes the policy less sure', async () => {
  const init = initOf({ schedule: { learningRate: 3e-3, warmUpSteps: 0 } });
  const engine = await openTrainingCore({ ...init, objective: { ...init.objective, entropyCoef: 0.1 } });
  const batch = (await onPolicy(engine)).map((sequence) => ({ ...sequence, advantage: 0 }));
  const first = await engine.update(batch);
  // The loss is −0.1·H and nothing else.
  assert.ok(Math.abs(first.loss + 0.1 * first.entropy) < 1e-6);
  for (let k = 0; k < 5; k++) await engine.update(batch);
  assert.ok((await engine.update(batch)).entropy > first.entropy);
  await engine.close();
});

test('a batch far off its policy is learned from more slowly where the recipe says so', async () => {
  const engine = await openTrainingCore(initOf({ slowWhenStale: true }));
  const sequences = (await onPolicy(engine)).map((sequence) => ({
    ...sequence,
    // Ratios 1, 3, 1, 3, …: (Σw)² / (n·Σw²) is 4/5 where the halves are equal.
    logprobsWorker: sequence.logprobsWorker.map((lp, k) => lp - (k % 2) * Math.log(3)),
  }));
  const { essShare, learningRate, meanLog2w } = await engine.update(sequences);
  const w = completions().flatMap(({ tokens }) => [...tokens].map((_, k) => (k % 2 === 1 ? 3 : 1)));
  const sumOf = (values: number[]) => values.reduce((a, b) => a + b, 0);
  const expected = sumOf(w) ** 2 / (w.length * sumOf(w.map((x) => x * x)));
  assert.ok(Math.abs(essShare - expected) < 1e-4);
  assert.ok(Math.abs(learningRate - 1e-2 * Math.sqrt(expected)) < 1e-6);
  assert.ok(Math.abs(meanLog2w - (w.filter((x) => x === 3).length / w.length) * Math.log(3) ** 2) < 1e-4);
  await engine.close();
});

test('a step that is not finite is named and changes nothing', async () => {
  const engine = await openTrainingCore(initOf());
  const sequences = await onPolicy(engine);
  const earlier = await weightsOf(engine);
  const poisoned = sequences.map((sequence, i) => (i === 1 ? { ...sequence, advantage: Number.NaN } : sequence));
  await assert.rejects(
    engine.update(poisoned),
    (error) => isSwarmError(error, 'NON_FINITE_STEP') && error.detail.what === 'loss',
  );
  assert.deepEqual(await weightsOf(engine), earlier);
  await engine.close();
  const reckless = await openTrainingCore(
    initOf({ schedule: { learningRate: Number.POSITIVE_INFINITY, warmUpSteps: 0 } }),
  );
  await assert.rejects(
    reckless.update(sequences),
    (error) => isSwarmError(error, 'NON_FINITE_STEP') && error.detail.what === 'learningRate',
  );
  assert.deepEqual(await weightsOf(reckless), earlier);
  await reckless.close();
});

test('a rehearsal fails where the update would, and changes nothing', async () => {
  const engine = await openTrainingCore(initOf());
  const plain = await openTrainingCore(initOf());
  const sequences = await onPolicy(engine);
  await engine.rehearse(sequences);
  const poisoned = sequences.map((sequence) => ({ ...sequence, advantage: Number.NaN }));
  await assert.rejects(engine.rehearse(poisoned), (error) => isSwarmError(error, 'NON_FINITE_STEP'));
  assert.deepEqual(await engine.update(sequences), await plain.update(sequences));
  assert.deepEqual(await weightsOf(engine), await weightsOf(plain));
  await engine.close();
  await plain.close();
});

test('a restored engine goes on as the one that was not stopped, also from the checkpoint before a broken one', async () => {
  const engine = await openTrainingCore(initOf());
  const sequences = await onPolicy(engine);
  const meta = (step: number) => ({ step, recipeId: 'r', consumed: [`g${step}`], extra: null });
  await engine.update(sequences);
  await engine.saveCheckpoint(dir, meta(1));
  await engine.update(sequences);
  const path = await engine.saveCheckpoint(dir, meta(2));
  const expected = await weightsOf(engine);
  await engine.close();
  await truncate(join(path, 'first-moments.safetensors'), 100);

  const resumed = await openTrainingCore(initOf({ source: { configJson: TINY_CONFIG_JSON, seed: 99 } }));
  const restored = await resumed.restore(dir);
  assert.equal(restored?.meta.step, 1);
  assert.deepEqual(restored?.meta.consumed, ['g1']);
  assert.deepEqual(
    restored?.skipped.map((skipped) => skipped.path),
    [path],
  );
  await resumed.update(sequences);
  assert.deepEqual(await weightsOf(resumed), expected);
  await resumed.close();
});

test('with adapters the base stays, what is published is merged, and a restored engine goes on', async () => {
  const folder = await mkdtemp(join(dir, 'lora-'));
  const lora = { rank: 2, alpha: 4, targets: ['q_proj', 'down_proj'] } as const;
  const engine = await openTrainingCore(initOf({ lora }, 'aipo', 0.1));
  const [plain, before] = [await openTrainingCore(initOf()), await engine.policy()];
  assert.deepEqual(before.policyRoot, (await plain.policy()).policyRoot, 'new adapters change nothing');
  const sequences = await onPolicy(engine);
  for (let k = 0; k < 3; k++) await engine.update(sequences);
  const published = await parseSafetensors((await engine.policy()).safetensors);
  const base = await parseSafetensors(before.safetensors);
  assert.deepEqual([...published.keys()].sort(), [...base.keys()].sort());
  for (const [name, { data }] of published)
    assert.equal(
      Buffer.compare(Buffer.from(data.buffer), Buffer.from(base.get(name)!.data.buffer)) !== 0,
      /(q_proj|down_proj)\.weight$/.test(name),
      name,
    );
  await engine.saveCheckpoint(folder, { step: 1, recipeId: 'r', consumed: [], extra: null });
  const expected = await engine.update(sequences);
  const resumed = await openTrainingCore(initOf({ lora }, 'aipo', 0.1));
  await resumed.restore(folder);
  assert.deepEqual(await resumed.update(sequences), expected);
  await assert.rejects(plain.restore(folder), (error) => isSwarmError(error, 'CHECKPOINT_CORRUPT'));
  for (const each of [engine, plain, resumed]) await each.close();
});

test('a snapshot counts the bits that changed since the one before', async () => {
  const engine = await openTrainingCore(initOf());
  assert.equal((await engine.policy()).changedBits, 0);
  await engine.update(await onPolicy(engine));
  const snapshot = await engine.policy();
  assert.ok(snapshot.changedBits > 0 && snapshot.changedShare > 0.5 && snapshot.changedShare <= 1);
  assert.equal(snapshot.policyRoot.length, 32);
  const weights = await parseSafetensors(snapshot.safetensors);
  assert.equal(weights.get('model.embed_tokens.weight')?.data.length, 12 * 16);
  await engine.close();
});

test('a step that is given up changes nothing, and what it had learned before can still be kept', async () => {
  const engine = await openTrainingCore(initOf({ microBatchTokens: 1 }));
  const batch = await onPolicy(engine);
  await engine.update(batch);
  const learned = await weightsOf(engine);
  const half = engine.update(batch);
  // Four micro-batches of which the first is under way.
  engine.interrupt();
  await assert.rejects(half, (error) => isSwarmError(error, 'INTERRUPTED'));
  await assert.rejects(engine.logprobs(completions()), (error) => isSwarmError(error, 'INTERRUPTED'));
  assert.deepEqual(await weightsOf(engine), learned);
  const checkpoints = join(dir, 'interrupted');
  await engine.saveCheckpoint(checkpoints, { step: 1, recipeId: 'r', consumed: [], extra: null });
  await engine.close();
  const again = await openTrainingCore(initOf({ microBatchTokens: 1 }));
  await again.restore(checkpoints);
  assert.deepEqual(await weightsOf(again), learned);
  await again.close();
});

test('a step that is given up in its last micro-batch is not taken', async () => {
  const interruption = createInterruption();
  let isComing = false;
  const check = (): void => {
    interruption.check();
    if (isComing) interruption.interrupt();
  };
  const engine = await openTrainingCore(initOf(), { ...interruption, check });
  const batch = await onPolicy(engine);
  const learned = await weightsOf(engine);
  isComing = true;
  await assert.rejects(engine.update(batch.slice(0, 1)), (error) => isSwarmError(error, 'INTERRUPTED'));
  assert.deepEqual(await weightsOf(engine), learned);
  await engine.close();
});

test('a thread that is interrupted rejects at once and still saves what it has', async () => {
  const engine = await createTrainingEngine(initOf({ microBatchTokens: 1 }));
  const batch = await onPolicy(engine);
  const learned = await weightsOf(engine);
  const long = engine.update(Array.from({ length: 50 }, () => batch).flat());
  engine.interrupt();
  await assert.rejects(long, (error) => isSwarmError(error, 'INTERRUPTED'));
  await assert.rejects(engine.update(batch), (error) => isSwarmError(error, 'INTERRUPTED'));
  assert.deepEqual(await weightsOf(engine), learned);
  await engine.close();
});

test('the thread gives the same results and the same errors, and closes', async () => {
  const here = await openTrainingCore(initOf());
  const there = await createTrainingEngine(initOf());
  assert.deepEqual(await there.logprobs(completions()), await here.logprobs(completions()));
  assert.deepEqual(await there.update(await onPolicy(there)), await here.update(await onPolicy(here)));
  const sft = completions().map(({ tokens }) => ({ tokens, mask: new Uint8Array(tokens.length).fill(1) }));
  assert.deepEqual(await there.sft(sft), await here.sft(sft));
  assert.deepEqual(Buffer.from(await weightsOf(there)), Buffer.from(await weightsOf(here)));
  await assert.rejects(there.update([]), (error) => isSwarmError(error, 'INTERNAL'));
  await there.close();
  await here.close();
  await assert.rejects(there.policy(), (error) => isSwarmError(error, 'ENGINE_CLOSED'));
  await assert.rejects(createTrainingEngine(initOf({ source: { folder: join(dir, 'nowhere') } })), (error) =>
    isSwarmError(error, 'MODEL_FILE_MISSING'),
  );
});
