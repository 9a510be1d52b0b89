// The completion graph behind prefilled prompts: its logits are PyTorch's, its scores those of sums in float64, whichever
// rows share a prompt.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildCompletionGraph, prefixNames } from '../../../../node/model/llama/completion.ts';
import { cacheNames } from '../../../../node/model/llama/decode.ts';
import { MASKED_SCORE } from '../../../../node/model/llama/layers.ts';
import { buildPrefillGraph } from '../../../../node/model/llama/prefill.ts';
import { weightFeeds } from '../../../support/decode-loop.ts';
import { largestDifference } from '../../../support/difference.ts';
import { type LoadedCase, loadCase, modelCases } from '../../../support/model-vectors.ts';
import { float32, int32, type Results, session, values } from '../../../support/run-graph.ts';

/** Prompts of the case's sequences, cut where `cuts` say (0: one padded place that nobody sees), as prefix feeds. */
async function prefixFeeds({ config, weights, inputIds }: LoadedCase, cuts: readonly number[]) {
  const width = Math.max(1, ...cuts);
  const ids = new Int32Array(cuts.length * width);
  for (const [b, cut] of cuts.entries()) ids.set(inputIds[b]!.slice(0, cut), b * width);
  const runner = await session(buildPrefillGraph(config, { hidden: false, caches: true }).model);
  const read = await runner.run({ ...weightFeeds(weights), input_ids: int32(ids, [cuts.length, width]) });
  await runner.release();
  const caches = Array.from({ length: config.layers }, (_, layer) => {
    const [from, to] = [cacheNames(layer), prefixNames(layer)];
    return { [to.key]: read[from.newKey]!, [to.value]: read[from.newValue]! };
  });
  return Object.assign({ 'prefix.lengths': int32(cuts, [cuts.length]) }, ...caches);
}

/** What follows the cuts, of the sequences `of`, right-padded. */
function completions({ inputIds }: LoadedCase, cuts: readonly number[], of: readonly number[]) {
  const rests = of.map((b) => inputIds[b]!.slice(cuts[b]!));
  const tokens = Math.max(...rests.map(({ length }) => length));
  const ids = new Int32Array(of.length * tokens);
  for (const [row, rest] of rests.entries()) ids.set(rest, row * tokens);
  return { rests, tokens, ids: int32(ids, [of.length, tokens]) };
}

describe('completion graph against PyTorch', () => {
  for (const one of modelCases()) {
    test(`${one.name}: logits and hidden states behind prompts`, async () => {
      const loaded = await loadCase(one);
      const { config, weights, inputIds, tensor } = loaded;
      const cuts = inputIds.map((ids, b) => (b === 0 ? 0 : Math.floor(ids.length / (b + 1))));
      const of = [...inputIds.keys()].reverse().concat([0, 0]); // several rows of one prompt, in another order
      const { rests, tokens, ids } = completions(loaded, cuts, of);
      const runner = await session(buildCompletionGraph(config, 'logits').model);
      const results = await runner.run({
        ...weightFeeds(weights),
        ...(await prefixFeeds(loaded, cuts)),
        'prefix.of': int32(of, [of.length]),
        input_ids: ids,
      });
      await runner.release();
      for (const name of ['logits', 'hidden'] as const) {
        const { data, shape } = tensor(name);
        const width = shape[2]!;
        const got = results[name]!.data as Float32Array;
        for (const [row, b] of of.entries()) {
          const from = (b * shape[1]! + cuts[b]!) * width;
          const expected = data.subarray(from, from + rests[row]!.length * width);
          const start = row * tokens * width;
          const difference = largestDifference(got.subarray(start, start + expected.length), expected);
          assert.ok(difference <= 1e-4, `${name} of row ${row} differ by ${difference}`);
        }
      }
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
      const loaded = await loadCase(modelCases()[0]!);
      const { config, weights, inputIds } = loaded;
      const tokenCount = config.vocabSize - missing;
      const cuts = inputIds.map(() => 3);
      const of = [...inputIds.keys()];
      const { ids } = completions(loaded, cuts, of);
      const feeds = {
        ...weightFeeds(weights),
        ...(await prefixFeeds(loaded, cuts)),
        'prefix.of': int32(of, [of.length]),
        input_ids: ids,
      };
      const targets = Int32Array.from({ length: ids.size }, (_, k) => (k * 37) % tokenCount);
      const mask = Float32Array.from({ length: config.vocabSize }, (_, id) => (id < tokenCount ? 0 : MASKED_SCORE));
      const scorer = await session(buildCompletionGraph(config, 'scores').model);
      const results: Results = await scorer.run({
        ...feeds,
        targets: int32(targets, ids.dims),
        temperature: float32([temperature], []),
        vocabulary_mask: float32(mask, [config.vocabSize]),
      });
      await scorer.release();
      const raw = await session(buildCompletionGraph(config, 'logits').model);
      const logits = values((await raw.run(feeds)).logits);
      await raw.release();
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
