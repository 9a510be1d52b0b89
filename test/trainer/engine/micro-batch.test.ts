// Micro-batches: every token in exactly one place, within the budget, and back again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { gatherRows, microBatches, scatterRows } from '../../../trainer/engine/micro-batch.ts';

test('two sequences in one rectangle, worked by hand', () => {
  const [batch, ...others] = microBatches(
    [
      { tokens: Uint32Array.of(5, 6, 7, 8), mask: Uint8Array.of(0, 0, 1, 1) },
      { tokens: Uint32Array.of(1, 2), mask: Uint8Array.of(0, 1) },
    ],
    100,
  );
  assert.equal(others.length, 0);
  assert.deepEqual(batch, {
    indices: [1, 0],
    width: 3,
    inputIds: Int32Array.of(1, 0, 0, 5, 6, 7),
    targets: Int32Array.of(2, 0, 0, 6, 7, 8),
    mask: Float32Array.of(1, 0, 0, 0, 1, 1),
    columns: [Int32Array.of(0), Int32Array.of(1, 2)],
  });
  assert.deepEqual(gatherRows(batch!, Float32Array.of(10, 11, 12, 13, 14, 15)), [
    Float32Array.of(10),
    Float32Array.of(14, 15),
  ]);
  assert.deepEqual(
    scatterRows(batch!, (index, k) => 10 * index + k + 1),
    Float32Array.of(11, 0, 0, 0, 1, 2),
  );
});

test('any batch is cut without loss and within the budget', () => {
  const lengths = fc.array(fc.integer({ min: 2, max: 40 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 200 }), (all, maxTokens) => {
      const sequences = all.map((length) => ({
        tokens: new Uint32Array(length).fill(1),
        mask: new Uint8Array(length).fill(1),
      }));
      const batches = microBatches(sequences, maxTokens);
      assert.deepEqual(
        batches.flatMap(({ indices }) => indices).sort((a, b) => a - b),
        all.map((_, index) => index),
      );
      for (const { indices, width, mask } of batches) {
        assert.ok(indices.length === 1 || indices.length * width <= maxTokens);
        assert.equal(
          mask.reduce((sum, on) => sum + on, 0),
          indices.reduce((sum, index) => sum + all[index]! - 1, 0),
        );
      }
    }),
  );
});
