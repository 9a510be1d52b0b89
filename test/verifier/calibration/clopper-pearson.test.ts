import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { atLeast } from '../../../verifier/binomial.ts';
import { betaDistribution, betaQuantile, share } from '../../../verifier/calibration/clopper-pearson.ts';

const near = (actual: number, expected: number, within: number): void =>
  assert.ok(Math.abs(actual - expected) <= within, `${actual}, expected ${expected}`);

test('beta distribution: closed forms', () => {
  near(betaDistribution(0.3, 1, 1), 0.3, 1e-14); // uniform
  near(betaDistribution(0.3, 2, 1), 0.09, 1e-14); // x²
  near(betaDistribution(0.3, 1, 5), 1 - 0.7 ** 5, 1e-14);
  near(betaDistribution(0.5, 7.5, 7.5), 0.5, 1e-13); // symmetry
});

test('beta distribution is the upper tail of a binomial: I_p(k, n − k + 1) = P(X ≥ k)', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), fc.double({ min: 0.05, max: 0.95, noNaN: true }), (n, p) => {
      for (const k of [Math.ceil(n * p), n]) near(betaDistribution(p, k, n - k + 1), atLeast(k, n, p), 1e-9);
    }),
    { numRuns: 60 },
  );
});

test('bounds in closed form: none or all of n', () => {
  const none = share(0, 10_000);
  assert.equal(none.low, 0);
  near(none.high, 1 - 0.025 ** (1 / 10_000), 1e-13);
  const all = share(3000, 3000);
  assert.equal(all.high, 1);
  near(all.low, 0.025 ** (1 / 3000), 1e-12);
  assert.deepEqual(share(0, 0), { count: 0, of: 0, low: 0, high: 1 });
});

test('bounds of tables: 5 of 10, 1 of 20', () => {
  // Published two-sided 95 % limits (Clopper and Pearson 1934; R: binom.test(5, 10), binom.test(1, 20)).
  const half = share(5, 10);
  near(half.low, 0.187086, 1e-6);
  near(half.high, 0.812914, 1e-6);
  const rare = share(1, 20);
  near(rare.low, 0.001265089, 1e-8);
  near(rare.high, 0.2487328, 1e-6);
});

test('quantiles invert', () => {
  for (const [a, b] of [
    [1, 10_000],
    [37, 11],
    [2999, 2],
  ] as const) {
    for (const p of [0.025, 0.5, 0.975]) near(betaDistribution(betaQuantile(p, a, b), a, b), p, 1e-10);
  }
});
