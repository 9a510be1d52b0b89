// Micro-batches: every sequence in exactly one place, prompts once where it pays, within the budget, and back again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { gatherRows, microBatches, scatterRows } from '../../../trainer/engine/micro-batch.ts';

const ids = (...values: number[]): Uint32Array => Uint32Array.from(values);

test('two completions of one prompt in one group, worked by hand', () => {
  const [batch, ...others] = microBatches(
    [
      { prompt: ids(5, 6, 7), tokens: ids(8, 9) },
      { prompt: ids(5, 6, 7), tokens: ids(1), mask: Uint8Array.of(1) },
    ],
    100,
  );
  assert.equal(others.length, 0);
  assert.deepEqual(batch, {
    indices: [1, 0],
    groups: 1,
    members: 2,
    promptWidth: 2,
    width: 2,
    promptIds: Int32Array.of(5, 6),
    promptLengths: Int32Array.of(2),
    completionIds: Int32Array.of(7, 0, 7, 8),
    targets: Int32Array.of(1, 0, 8, 9),
    mask: Float32Array.of(1, 0, 1, 1),
  });
  assert.deepEqual(
    gatherRows(batch!, Float32Array.of(10, 11, 12, 13), (index) => 2 - index),
    [
      [1, Float32Array.of(10)],
      [0, Float32Array.of(12, 13)],
    ],
  );
  assert.deepEqual(
    scatterRows(batch!, (index, k) => 10 * index + k + 1),
    Float32Array.of(11, 0, 1, 2),
  );
});

test('groups of unlike size lie in one micro-batch, the smaller one filled up', () => {
  const [batch, ...others] = microBatches(
    [
      { prompt: ids(1), tokens: ids(2, 3) },
      { prompt: ids(4, 5), tokens: ids(6, 7) },
      { prompt: ids(4, 5), tokens: ids(8, 9) },
    ],
    100,
  );
  assert.equal(others.length, 0);
  assert.deepEqual(batch!.indices, [0, -1, 1, 2]);
  assert.deepEqual([batch!.promptIds, batch!.promptLengths], [Int32Array.of(0, 4), Int32Array.of(0, 1)]);
  assert.deepEqual(batch!.mask, Float32Array.of(1, 1, 0, 0, 1, 1, 1, 1));
});

test('a long completion does not pad the short ones of its prompt', () => {
  const sequence = (length: number) => ({ prompt: ids(1, 2, 3), tokens: new Uint32Array(length) });
  const batches = microBatches([sequence(200), ...Array.from({ length: 15 }, () => sequence(10))], 1024);
  assert.deepEqual(
    batches.map(({ members, width }) => [members, width]),
    [
      [15, 10],
      [1, 200],
    ],
  );
});

test('any batch is cut without loss and within the budget', () => {
  const sequence = fc.record({
    // few unlike prompts, so that many are shared
    prompt: fc.integer({ min: 1, max: 4 }).map((length) => new Uint32Array(length).fill(length)),
    tokens: fc.integer({ min: 1, max: 40 }).map((length) => Uint32Array.from({ length }, (_, k) => k + 1)),
  });
  fc.assert(
    fc.property(fc.array(sequence, { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 300 }), (all, most) => {
      const batches = microBatches(all, most);
      const seen: number[] = [];
      for (const batch of batches) {
        const { groups, members, promptWidth, width, indices, mask, completionIds } = batch;
        const real = indices.filter((index) => index >= 0);
        seen.push(...real);
        assert.ok(real.length === 1 || groups * (promptWidth + members * width) <= most);
        assert.equal(
          mask.reduce((sum, on) => sum + on, 0),
          real.reduce((sum, index) => sum + all[index]!.tokens.length, 0),
        );
        for (const [row, index] of indices.entries()) {
          if (index < 0) continue;
          const { prompt, tokens } = all[index]!;
          const group = Math.floor(row / members);
          assert.equal(batch.promptLengths[group], prompt.length - 1);
          assert.deepEqual(
            [...batch.promptIds.subarray(group * promptWidth, group * promptWidth + prompt.length - 1)],
            [...prompt.subarray(0, -1)],
          );
          assert.deepEqual(
            [...completionIds.subarray(row * width, row * width + tokens.length)],
            [prompt.at(-1), ...tokens.subarray(0, -1)],
          );
        }
      }
      assert.deepEqual(
        seen.sort((a, b) => a - b),
        all.map((_, index) => index),
      );
    }),
  );
});
