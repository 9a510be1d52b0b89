// The decode graph against PyTorch: logits and hidden states token by token, and greedy continuations.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildDecodeGraph } from '../../../../node/model/llama/decode.ts';
import { decodeLoop } from '../../../support/decode-loop.ts';
import { largestDifference } from '../../../support/difference.ts';
import { loadCase, modelCases } from '../../../support/model-vectors.ts';
import { session } from '../../../support/run-graph.ts';

const argMax = (logits: ArrayLike<number>): number => Array.from(logits).indexOf(Math.max(...Array.from(logits)));

describe('decode graph against PyTorch', () => {
  for (const one of modelCases()) {
    test(`${one.name}: sequences of unlike lengths share a batch`, async () => {
      const { config, weights, inputIds, tensor } = await loadCase(one);
      const runner = await session(buildDecodeGraph(config).model);
      const longest = Math.max(...inputIds.map((ids) => ids.length));
      const loop = decodeLoop(runner, config, weights, inputIds.length, longest + 3);
      // what an unfilled row holds must not matter
      for (const cache of loop.caches) cache.fill(7);
      // the second sequence starts four steps late, so that positions differ within the batch
      const delays = inputIds.map((_, b) => (b === 1 ? 4 : 0));
      const [logits, hidden] = [tensor('logits'), tensor('hidden')];
      const worst = { logits: 0, hidden: 0 };
      for (let step = 0; step < longest; step++) {
        const at = inputIds.map((_, b) => step - delays[b]!);
        const active = inputIds.map((ids, b) => at[b]! >= 0 && at[b]! < ids.length);
        const results = await loop.step(
          inputIds.map((ids, b) => ids[at[b]!] ?? 0),
          active,
        );
        for (const [b, on] of active.entries()) {
          if (!on) continue;
          for (const [name, all] of [
            ['logits', logits],
            ['hidden', hidden],
          ] as const) {
            const width = all.shape[2]!;
            const row = (b * all.shape[1]! + at[b]!) * width;
            const got = (results[name]!.data as Float32Array).subarray(b * width, (b + 1) * width);
            worst[name] = Math.max(worst[name], largestDifference(got, all.data.subarray(row, row + width)));
          }
        }
      }
      await runner.release();
      assert.ok(worst.logits <= 1e-4, `logits differ by ${worst.logits}`);
      assert.ok(worst.hidden <= 1e-4, `hidden states differ by ${worst.hidden}`);
      assert.deepEqual(
        [...loop.lengths],
        inputIds.map((ids) => ids.length),
      );
    });

    test(`${one.name}: greedy continuation`, async () => {
      const { config, weights, inputIds, greedyTokens } = await loadCase(one);
      const runner = await session(buildDecodeGraph(config).model);
      const prompt = inputIds[0]!;
      const loop = decodeLoop(runner, config, weights, 1, prompt.length + greedyTokens.length);
      const continued: number[] = [];
      for (let step = 0; continued.length < greedyTokens.length; step++) {
        const results = await loop.step([prompt[step] ?? continued.at(-1)!]);
        if (step + 1 >= prompt.length) continued.push(argMax(results.logits!.data as Float32Array));
      }
      await runner.release();
      assert.deepEqual(continued, greedyTokens);
    });
  }
});
