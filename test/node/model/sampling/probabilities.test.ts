// Draws from float32 probabilities against the float64 reference: the same vectors, and everywhere within δ/4 of its CDF
// (spec/rollouts.md, "Sampling", last sentence).

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type CutSettings, softmax } from '../../../../node/model/sampling/distribution.ts';
import { drawnWithin } from '../../../../node/model/sampling/draw.ts';
import { cutIntervals } from '../../../../node/model/sampling/near-cut.ts';
import { createRowDraw, drawFromChunks } from '../../../../node/model/sampling/probabilities.ts';
import { readVector } from '../../../support/vectors-dir.ts';

/** δ of spec/rollouts.md. */
const DELTA = 1e-4;

/** What ONNX Runtime's Softmax gives, for exponentials that are rounded well. */
function rowOf(logits: Float32Array, temperature: number): Float32Array {
  return Float32Array.from(softmax(logits, temperature, logits.length));
}

interface SamplingVector {
  readonly logits_f32: number[];
  readonly temperature: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly draws: { u: number; token: number; logprob: number; distance_to_edge: number }[];
}

describe('reference vectors', () => {
  for (const vector of readVector<{ sampling: SamplingVector[] }>('rollouts.json').sampling) {
    test(`V ${vector.logits_f32.length}, T ${vector.temperature}, k ${vector.top_k}, p ${vector.top_p}`, () => {
      const p = rowOf(Float32Array.from(vector.logits_f32), vector.temperature);
      const settings = { temperature: vector.temperature, topK: vector.top_k, topP: vector.top_p };
      const draw = createRowDraw(settings, p.length);
      let compared = 0;
      for (const { u, token, logprob, distance_to_edge } of vector.draws) {
        if (distance_to_edge < 1e-6) continue;
        compared++;
        const drawn = draw(p, u);
        assert.equal(drawn.token, token);
        assert.ok(Math.abs(drawn.logprob - logprob) < 1e-6);
      }
      assert.ok(compared > 0);
    });
  }
});

/** Equal, or 1/64 and more apart: nearer ones may change places at a cut, where a verifier takes either. */
const logitRow = fc
  .array(fc.integer({ min: -1600, max: 1600 }), { minLength: 2, maxLength: 200 })
  .map((row) => Float32Array.from(row, (step) => step / 64));
const settingsArb: fc.Arbitrary<CutSettings> = fc.record({
  temperature: fc.constantFrom(0.5, 1, 1.4),
  topK: fc.oneof(fc.constant(0), fc.nat(20)),
  topP: fc.constantFrom(1, 0.95, 0.5, 0.01),
});
/** Both ends of the CDF included, where errors weigh most; nearer to 1 the reference's own sums are no better. */
const uniform = fc.oneof(
  fc.double({ min: 0, max: 1 - 2 ** -36, noNaN: true }),
  fc.integer({ min: 1, max: 53 }).map((bits) => 2 ** -bits),
  fc.integer({ min: 1, max: 36 }).map((bits) => 1 - 2 ** -bits),
);

test('what is drawn lies in the reference interval, widened by δ/4', () => {
  fc.assert(
    fc.property(logitRow, settingsArb, uniform, (logits, settings, u) => {
      const { token, logprob } = createRowDraw(settings, logits.length)(rowOf(logits, settings.temperature), u);
      const reference = softmax(logits, settings.temperature, logits.length);
      const found = cutIntervals(reference, settings, token, DELTA / 4);
      const passes = [found, ...found.alternatives].some(({ below, upTo }) => drawnWithin(u, below, upTo, DELTA / 4));
      assert.ok(passes, `${token} drawn by ${u}`);
      // Only u = 0 draws what float32 holds imprecisely.
      if (reference[token]! > 1e-30) assert.ok(Math.abs(logprob - Math.log(reference[token]!)) < 1e-5);
    }),
    { numRuns: 2000 },
  );
});

test('a row in chunks draws what the whole row draws', () => {
  fc.assert(
    fc.property(
      fc.array(fc.float({ min: -12, max: 12, noNaN: true }), { minLength: 24, maxLength: 24 }),
      uniform,
      (logits, u) => {
        const p = rowOf(Float32Array.from(logits), 1);
        const whole = createRowDraw({ temperature: 1, topK: 0, topP: 1 }, 24)(p, u);
        const width = 4;
        const sums = Float32Array.from({ length: 6 }, (_, c) =>
          p.subarray(c * width, (c + 1) * width).reduce((sum, value) => sum + value, 0),
        );
        const at = Math.floor(whole.token / width);
        for (const [first, last] of [
          [at, at],
          [Math.max(0, at - 1), at],
          [at, Math.min(5, at + 1)],
        ] as const) {
          const probabilities = Float32Array.from(
            [first, last].flatMap((c) => [...p.subarray(c * width, (c + 1) * width)]),
          );
          const drawn = drawFromChunks({ sums, first, last, probabilities }, u);
          // Float32 sums of chunks move borders between them by some 1e-7.
          const sameToken = drawn.token === whole.token;
          assert.ok(sameToken || Math.floor(drawn.token / width) !== at || Math.min(u, 1 - u) < 1e-6);
          if (sameToken) assert.ok(Math.abs(drawn.logprob - whole.logprob) < 1e-6);
        }
      },
    ),
  );
});

test('cuts of a large vocabulary keep what a full sort keeps', () => {
  const logits = Float32Array.from({ length: 20_000 }, (_, id) => 8 * Math.sin(id * 12.9898) + Math.cos(id));
  const p = rowOf(logits, 1);
  const order = [...p.keys()].sort((a, b) => p[b]! - p[a]! || a - b);
  const keptBy = (topP: number): number[] => {
    const kept: number[] = [];
    for (let sum = 0, k = 0; sum < topP; k++) {
      kept.push(order[k]!);
      sum += p[order[k]!]!;
    }
    return kept.sort((a, b) => a - b);
  };
  for (const topP of [0.1, 0.9, 0.999]) {
    const kept = keptBy(topP);
    const draw = createRowDraw({ temperature: 1, topK: 0, topP }, p.length);
    const drawn = new Set(Array.from({ length: 100 }, (_, k) => draw(p, k / 100).token));
    assert.equal(draw(p, 0).token, kept[0]);
    assert.equal(draw(p, 1 - 2 ** -53).token, kept.at(-1));
    assert.ok([...drawn].every((token) => kept.includes(token)));
  }
});

test('no distribution is an error of ours', () => {
  const draw = createRowDraw({ temperature: 1, topK: 0, topP: 1 }, 2);
  for (const row of [
    [0, 0],
    [Number.NaN, 1],
  ]) {
    assert.throws(() => draw(Float32Array.from(row), 0.5), { code: 'ENGINE_FAILED' });
  }
});
