// The prefill graph against PyTorch and against sums in float64; its caches continued by the decode graph.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildDecodeGraph, cacheNames } from '../../../../node/model/llama/decode.ts';
import { MASKED_SCORE } from '../../../../node/model/llama/layers.ts';
import { buildPrefillGraph } from '../../../../node/model/llama/prefill.ts';
import { decodeLoop, weightFeeds } from '../../../support/decode-loop.ts';
import { largestDifference } from '../../../support/difference.ts';
import { type LoadedCase, loadCase, modelCases } from '../../../support/model-vectors.ts';
import { float32, int32, type Results, session, values } from '../../../support/run-graph.ts';

function padded(sequences: readonly (readonly number[])[]): {
  readonly ids: Int32Array;
  readonly shape: readonly number[];
} {
  const tokens = Math.max(...sequences.map((ids) => ids.length));
  const ids = new Int32Array(sequences.length * tokens);
  for (const [b, sequence] of sequences.entries()) ids.set(sequence, b * tokens);
  return { ids, shape: [sequences.length, tokens] };
}

/** Largest difference over the tokens that are there. */
function differenceWithin(
  { inputIds }: LoadedCase,
  got: ArrayLike<number>,
  expected: Float32Array,
  width: number,
): number {
  const tokens = Math.max(...inputIds.map((ids) => ids.length));
  let worst = 0;
  for (const [b, ids] of inputIds.entries()) {
    const [from, to] = [b * tokens * width, (b * tokens + ids.length) * width];
    worst = Math.max(worst, largestDifference(Array.from(got).slice(from, to), expected.slice(from, to)));
  }
  return worst;
}

describe('prefill graph against PyTorch', () => {
  for (const one of modelCases()) {
    test(`${one.name}: logits and hidden states`, async () => {
      const loaded = await loadCase(one);
      const { config, weights, inputIds, tensor } = loaded;
      const runner = await session(buildPrefillGraph(config, { logits: 'all' }).model);
      const { ids, shape } = padded(inputIds);
      const results = await runner.run({ ...weightFeeds(weights), input_ids: int32(ids, shape) });
      await runner.release();
      for (const name of ['logits', 'hidden'] as const) {
        const { data, shape: full } = tensor(name);
        assert.deepEqual(results[name]!.dims, full);
        const difference = differenceWithin(loaded, values(results[name]), data, full[2]!);
        assert.ok(difference <= 1e-4, `${name} differ by ${difference}`);
      }
    });

    test(`${one.name}: greedy continuation from prefilled caches`, async () => {
      const { config, weights, inputIds, greedyTokens } = await loadCase(one);
      const prefill = await session(buildPrefillGraph(config, { hidden: false, caches: true, logits: 'last' }).model);
      const prompt = inputIds[0]!;
      // beside a longer sequence, so that the prompt's rows are padded
      const { ids, shape } = padded([prompt, inputIds[1]!]);
      const lengths = int32([prompt.length, inputIds[1]!.length], [2]);
      const start = await prefill.run({ ...weightFeeds(weights), input_ids: int32(ids, shape), lengths });
      await prefill.release();
      const runner = await session(buildDecodeGraph(config).model);
      const capacity = prompt.length + greedyTokens.length;
      const loop = decodeLoop(runner, config, weights, 1, capacity);
      for (let layer = 0; layer < config.layers; layer++) {
        const { newKey, newValue } = cacheNames(layer);
        for (const [k, name] of [newKey, newValue].entries()) {
          const rows = start[name]!.data as Float32Array;
          for (let head = 0; head < config.keyValueHeads; head++) {
            const from = head * shape[1]! * config.headDim;
            const row = rows.subarray(from, from + prompt.length * config.headDim);
            loop.caches[2 * layer + k]!.set(row, head * capacity * config.headDim);
          }
        }
      }
      loop.lengths[0] = prompt.length;
      let logits = values(start.logits).slice(0, config.vocabSize);
      const continued: number[] = [];
      for (let k = 0; k < greedyTokens.length; k++) {
        continued.push(logits.indexOf(Math.max(...logits)));
        logits = values((await loop.step([continued[k]!])).logits);
      }
      await runner.release();
      assert.deepEqual(continued, greedyTokens);
    });
  }
});

interface Reference {
  readonly logprob: number;
  readonly probability: number;
  readonly below: number;
  readonly above: number;
}

/** The same figures in float64 from float32 logits. */
function reference(logits: readonly number[], target: number, temperature: number, tokenCount: number): Reference {
  const scaled = logits.slice(0, tokenCount).map((logit) => logit / temperature);
  const largest = Math.max(...scaled);
  const weights = scaled.map((logit) => Math.exp(logit - largest));
  const sum = (part: readonly number[]): number => part.reduce((total, weight) => total + weight, 0);
  const total = sum(weights);
  return {
    logprob: scaled[target]! - largest - Math.log(total),
    probability: weights[target]! / total,
    below: sum(weights.slice(0, target)) / total,
    above: sum(weights.slice(target + 1)) / total,
  };
}

describe('scores of given tokens', () => {
  for (const [temperature, missing] of [
    [1, 0],
    [0.1, 0],
    [0.7, 20],
  ] as const) {
    test(`temperature ${temperature}, ${missing} ids without a token`, async () => {
      const one = modelCases()[0]!;
      const { config, weights, inputIds } = await loadCase(one);
      const tokenCount = config.vocabSize - missing;
      const { ids, shape } = padded(inputIds);
      const targets = ids.map((_, k) => (k * 37) % tokenCount);
      const mask = Float32Array.from({ length: config.vocabSize }, (_, id) => (id < tokenCount ? 0 : MASKED_SCORE));
      const runner = await session(buildPrefillGraph(config, { scores: true, logits: 'all' }).model);
      const results: Results = await runner.run({
        ...weightFeeds(weights),
        input_ids: int32(ids, shape),
        targets: int32(targets, shape),
        temperature: float32([temperature], []),
        vocabulary_mask: float32(mask, [config.vocabSize]),
      });
      await runner.release();
      const logits = values(results.logits);
      const [logprobs, probability, below, above] = [
        results.logprobs,
        results.probability,
        results.below,
        results.above,
      ].map(values);
      for (const [k, target] of targets.entries()) {
        const row = logits.slice(k * config.vocabSize, (k + 1) * config.vocabSize);
        const expected = reference(row, target, temperature, tokenCount);
        // relative to each figure itself, however small: logits up to about 10, over T, in float32
        const relative = (got: number, want: number): number => Math.abs(got - want) / Math.max(want, 1e-30);
        const tolerance = 2e-5 / temperature;
        assert.ok(Math.abs(logprobs![k]! - Math.max(expected.logprob, Math.log(2 ** -126))) <= tolerance);
        assert.ok(relative(probability![k]!, expected.probability) <= tolerance);
        assert.ok(relative(below![k]!, expected.below) <= tolerance);
        assert.ok(relative(above![k]!, expected.above) <= tolerance);
      }
    });
  }
});
