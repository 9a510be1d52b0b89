// The prefill graph against PyTorch; its caches continued by the decode graph.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildDecodeGraph, cacheNames } from '../../../../node/model/llama/decode.ts';
import { buildPrefillGraph } from '../../../../node/model/llama/prefill.ts';
import { decodeLoop, weightFeeds } from '../../../support/decode-loop.ts';
import { largestDifference } from '../../../support/difference.ts';
import { type LoadedCase, loadCase, modelCases } from '../../../support/model-vectors.ts';
import { int32, session, values } from '../../../support/run-graph.ts';

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
