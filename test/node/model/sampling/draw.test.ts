// The reference sampler against an independent reading of the spec (test/vectors/rollouts.json), and the replay interval.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type CutSettings, cutDistribution, likeliest, softmax } from '../../../../node/model/sampling/distribution.ts';
import { createSampler, drawFrom, drawnWithin, intervalOf } from '../../../../node/model/sampling/draw.ts';
import { cutIntervals } from '../../../../node/model/sampling/near-cut.ts';
import { readVector } from '../../../support/vectors-dir.ts';

interface SamplingVector {
  readonly logits_f32: number[];
  readonly temperature: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly kept: number;
  readonly draws: {
    u: number;
    token: number;
    logprob: number;
    cdf_below: number;
    cdf: number;
    distance_to_edge: number;
  }[];
}

const vectors = readVector<{ sampling: SamplingVector[] }>('rollouts.json').sampling;
const close = (a: number, b: number, limit: number): void => assert.ok(Math.abs(a - b) <= limit, `${a} is not ${b}`);

describe('reference vectors', () => {
  for (const vector of vectors) {
    test(`V ${vector.logits_f32.length}, T ${vector.temperature}, k ${vector.top_k}, p ${vector.top_p}`, () => {
      const settings = { temperature: vector.temperature, topK: vector.top_k, topP: vector.top_p };
      const logits = Float32Array.from(vector.logits_f32);
      const p = cutDistribution(softmax(logits, settings.temperature, logits.length), settings);
      assert.equal(p.filter((value) => value > 0).length, vector.kept);
      const sampler = createSampler(settings, logits.length);
      for (const expected of vector.draws) {
        const drawn = sampler.draw(logits, expected.u);
        assert.equal(drawn.token, expected.token);
        close(drawn.logprob, expected.logprob, 1e-12);
        assert.equal(drawFrom(p, expected.u), expected.token);
        const { below, upTo } = intervalOf(p, expected.token);
        close(below, expected.cdf_below, 1e-12);
        close(upTo, expected.cdf, 1e-12);
        assert.ok(drawnWithin(expected.u, below, upTo, 1e-9));
      }
    });
  }
});

const logitRow = fc
  .array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: 2, maxLength: 40 })
  .map((row) => Float32Array.from(row));
const settingsArb: fc.Arbitrary<CutSettings> = fc.record({
  temperature: fc.constantFrom(0.5, 1, 1.4),
  topK: fc.nat(8),
  topP: fc.constantFrom(1, 0.95, 0.5, 0.01),
});
const uniform = fc.double({ min: 0, max: 1 - 2 ** -53, noNaN: true });

test('whatever the sampler draws lies within its own interval, and p sums to 1', () => {
  fc.assert(
    fc.property(logitRow, settingsArb, uniform, (logits, settings, u) => {
      const { token, logprob } = createSampler(settings, logits.length).draw(logits, u);
      const whole = softmax(logits, settings.temperature, logits.length);
      const interval = cutIntervals(whole, settings, token, 1e-4);
      assert.ok(drawnWithin(u, interval.below, interval.upTo, 1e-9));
      const p = cutDistribution(whole, settings);
      close(
        p.reduce((sum, value) => sum + value, 0),
        1,
        1e-12,
      );
      close(Math.exp(logprob), whole[token]!, 1e-12);
    }),
  );
});

/** Rows without ties of three: neighbours in rank are at least 0.01 apart, but one pair that may be within delta. */
const rowWithOneClosePair = fc
  .tuple(fc.uniqueArray(fc.integer({ min: -1000, max: 1000 }), { minLength: 3, maxLength: 40 }), fc.boolean())
  .map(([steps, close]) => {
    const row = Float32Array.from(steps, (step) => step / 100);
    if (close) row[0] = row[1]! + 2e-5;
    return row;
  });
const noiseRow = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 40, maxLength: 40 });

test('logits moved by less than delta keep every honest draw acceptable, at cuts too', () => {
  const delta = 1e-4;
  fc.assert(
    fc.property(rowWithOneClosePair, settingsArb, uniform, noiseRow, (logits, settings, u, noise) => {
      const moved = logits.map((value, id) => value + 0.3 * delta * settings.temperature * noise[id]!);
      const { token } = createSampler(settings, logits.length).draw(moved, u);
      const found = cutIntervals(softmax(logits, settings.temperature, logits.length), settings, token, delta);
      const passes = [found, ...found.alternatives].some(({ below, upTo }) => drawnWithin(u, below, upTo, delta));
      assert.ok(passes, `token ${token} drawn by ${u} does not pass`);
    }),
    { numRuns: 1000 },
  );
});

test('a token that the cut took is never accepted', () => {
  const p = softmax(Float32Array.from([5, 4, -3, -3]), 1, 4);
  const settings = { temperature: 1, topK: 2, topP: 1 };
  for (let step = 0; step < 100; step++) {
    const { below, upTo, alternatives } = cutIntervals(p, settings, 2, 1e-4);
    assert.equal(drawnWithin(step / 100, below, upTo, 1e-4), false);
    assert.deepEqual(alternatives, []);
  }
});

test('the k-th and the next within delta are accepted either way', () => {
  const p = softmax(Float32Array.from([2, 1, 1 - 5e-5]), 1, 3);
  const { below, upTo, alternatives } = cutIntervals(p, { temperature: 1, topK: 2, topP: 1 }, 2, 1e-4);
  assert.equal(below, upTo);
  assert.equal(alternatives.length, 1);
  assert.equal(drawnWithin(0.9, alternatives[0]!.below, alternatives[0]!.upTo, 1e-4), true);
});

test('ids without a token are never drawn, however likely their rows', () => {
  const logits = Float32Array.from([0, 1, 100, 100]);
  const sampler = createSampler({ temperature: 1, topK: 0, topP: 1 }, 2);
  assert.equal(sampler.draw(logits, 1 - 2 ** -53).token, 1);
  close(sampler.draw(logits, 0).logprob, -Math.log(1 + Math.E), 1e-12);
});

test('the interval bounds are those of the spec, worked by hand', () => {
  // x = 0.25, y = 0.5, a = e^(2 ln 2) = 4: x/(x + 3) = 1/13, 2/(0.5 + 2) = 0.8
  const delta = Math.log(2);
  assert.equal(drawnWithin(1 / 13 + 1e-12, 0.25, 0.5, delta), true);
  assert.equal(drawnWithin(1 / 13 - 1e-9, 0.25, 0.5, delta), false);
  assert.equal(drawnWithin(0.8 - 1e-9, 0.25, 0.5, delta), true);
  assert.equal(drawnWithin(0.8 + 1e-9, 0.25, 0.5, delta), false);
});

test('the heap finds what a sort finds, ties by smaller id', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(6), { minLength: 1, maxLength: 60 }), fc.nat(20), (values, count) => {
      const p = Float64Array.from(values);
      const sorted = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b).slice(0, count);
      assert.deepEqual([...likeliest(p, count)], sorted);
    }),
  );
});
