// Advantages: numbers worked by hand, PyTorch's vectors, and what holds for any group.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { ADVANTAGES, type AdvantageName, advantages, carriesNothing } from '../../../trainer/grpo/advantages.ts';
import { grpoVectors } from '../../support/grpo-vectors.ts';

const NAMES = Object.keys(ADVANTAGES) as AdvantageName[];

const near = (got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void => {
  assert.equal(got.length, expected.length);
  for (let i = 0; i < got.length; i++)
    assert.ok(Math.abs(got[i]! - expected[i]!) <= tolerance, `[${i}] ${got[i]} against ${expected[i]}`);
};

test('advantages of one success in four, worked by hand', () => {
  const rewards = [1, 0, 0, 0];
  near(advantages('mean', rewards), [0.75, -0.25, -0.25, -0.25], 1e-15);
  // Squares sum to 0.75² + 3·0.25² = 0.75, over 3: 0.25, so the standard deviation is 0.5.
  near(advantages('std', rewards), [0.75 / 0.500001, -0.25 / 0.500001, -0.25 / 0.500001, -0.25 / 0.500001], 1e-12);
  near(advantages('maxrl', rewards), [3, -1, -1, -1], 1e-15);
  near(advantages('rloo', rewards), [1, -1 / 3, -1 / 3, -1 / 3], 1e-15);
});

test('advantages equal PyTorch', () => {
  for (const vector of grpoVectors().advantages) {
    assert.equal(carriesNothing(vector.rewards), vector.carries_nothing);
    for (const name of NAMES) near(advantages(name, vector.rewards), vector[name], 1e-9);
  }
});

test('every rule sums to zero', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 2, maxLength: 32 }), (eighths) => {
      const rewards = eighths.map((value) => value / 8);
      for (const name of NAMES) {
        const got = advantages(name, rewards);
        const largest = got.reduce((best, value) => Math.max(best, Math.abs(value)), 1);
        assert.ok(Math.abs(got.reduce((sum, value) => sum + value, 0)) <= 1e-6 * rewards.length * largest, name);
      }
    }),
  );
});

test('a group of one has no advantage', () => {
  assert.throws(
    () => advantages('mean', [1]),
    (error) => isSwarmError(error, 'GROUP_TOO_SMALL'),
  );
});
