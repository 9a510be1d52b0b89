// The brake on tokens far from the policy that sampled them, worked by hand.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { steadyTokens } from '../../../trainer/grpo/second-moment.ts';

/** A rollout whose tokens' log w are these. */
const rollout = (...logW: readonly number[]) => ({
  logprobsWorker: new Float32Array(logW.length).fill(-1),
  logprobsOld: Float32Array.from(logW, (value) => value - 1),
});
const masks = (batch: Parameters<typeof steadyTokens>[0], limit: number) =>
  steadyTokens(batch, limit).map((mask) => [...mask]);

test('the largest log² w goes first, of either sign, until the mean of the rest is below the limit', () => {
  // Squares 4, 1, 0.25, 0, 0: means 1.05; without the 4 0.3125; without the 1 as well 0.0833.
  const batch = [rollout(1, -2, 0), rollout(0.5, 0)];
  const all = [
    [1, 1, 1],
    [1, 1],
  ];
  assert.deepEqual(masks(batch, 1.06), all);
  assert.deepEqual(masks(batch, 1.05), [[1, 0, 1], all[1]]);
  assert.deepEqual(masks(batch, 0.3), [[0, 0, 1], all[1]]);
  assert.deepEqual(masks(batch, 0.08), [
    [0, 0, 1],
    [0, 1],
  ]);
  assert.deepEqual(masks([rollout(0, 0)], 1e-9), [[1, 1]], 'what was sampled by these weights stays');
  assert.deepEqual(masks([], 1), []);
  // Of those that are equal only as many as have to: means 2, then 4/3.
  assert.deepEqual(masks([rollout(0, 2), rollout(-2, 0)], 1.5), [
    [1, 0],
    [1, 1],
  ]);
  assert.deepEqual(masks([rollout(2, -2)], 3), [[0, 0]], 'none is small enough');
});

test('what stays is below the limit, nothing that stays is larger than what went, and one more would be too many', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 1, maxLength: 8 }), { maxLength: 6 }),
      fc.double({ min: 1e-3, max: 4, noNaN: true }),
      (rows, limit) => {
        const batch = rows.map((row) => rollout(...row));
        const tokens = masks(batch, limit).flatMap((mask, i) =>
          mask.map((stays, t) => ({ stays, square: Math.fround((batch[i]!.logprobsOld[t]! + 1) ** 2) })),
        );
        const kept = tokens.filter(({ stays }) => stays === 1).map(({ square }) => square);
        const gone = tokens.filter(({ stays }) => stays === 0).map(({ square }) => square);
        const sum = kept.reduce((a, b) => a + b, 0);
        if (kept.length > 0) assert.ok(sum < limit * kept.length + 1e-9);
        if (gone.length === 0) return;
        const smallestGone = Math.min(...gone);
        assert.ok(Math.max(0, ...kept) <= smallestGone);
        assert.ok(sum + smallestGone >= limit * (kept.length + 1) - 1e-9);
      },
    ),
  );
});
