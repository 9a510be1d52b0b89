// AdamW, clipping and the schedule: worked numbers, PyTorch's vectors, the kernel's float32 against float64.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { ADAMW_DEFAULTS, adamwInit, adamwUpdate, type Parameter } from '../../../trainer/optim/adamw.ts';
import { createAdamwKernel } from '../../../trainer/optim/adamw-kernel.ts';
import { clipScale, globalNorm } from '../../../trainer/optim/clip.ts';
import { learningRateAt } from '../../../trainer/optim/schedule.ts';
import { type AdamwCase, grpoVectors } from '../../support/grpo-vectors.ts';

const near = (got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void => {
  assert.equal(got.length, expected.length);
  for (let i = 0; i < got.length; i++)
    assert.ok(Math.abs(got[i]! - expected[i]!) <= tolerance, `[${i}] ${got[i]} against ${expected[i]}`);
};

function replay(vector: AdamwCase): void {
  const shapes = [[3, 2], [4]];
  const parameters: Parameter[] = vector.start.map((start, i) => ({
    name: `p${i}`,
    shape: shapes[i]!,
    data: Float32Array.from(start),
  }));
  const state = adamwInit(parameters);
  const settings = {
    beta1: vector.betas[0],
    beta2: vector.betas[1],
    epsilon: vector.eps,
    weightDecay: vector.weight_decay[0]!,
  };
  vector.steps.forEach((step, k) => {
    const gradients = step.grads.map((gradient) => Float32Array.from(gradient));
    const norm = globalNorm(gradients);
    near([norm], [step.norm_before_clip], 1e-5);
    const rate = learningRateAt({ learningRate: 0.01, warmUpSteps: 3 }, k);
    near([rate], [step.lr], 1e-15);
    adamwUpdate(state, parameters, gradients, settings, rate, clipScale(norm, vector.clip_norm));
    step.after.forEach((after, i) => {
      near(parameters[i]!.data, after, 1e-6);
    });
  });
}

test('six AdamW steps stay within 1e-6 of PyTorch', () => {
  for (const vector of grpoVectors().adamw) replay(vector);
});

test('arrays of any length agree with the formula in float64, and nothing beyond their end is touched', () => {
  const rates = {
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    decay: 0.99,
    stepSize: 0.02,
    secondScale: 3,
    gradientScale: 0.5,
  };
  const kernel = createAdamwKernel();
  // one value, a part of a vector, one more than a block, some blocks and a part
  for (const length of [1, 5, 16_385, 40_003]) {
    const make = (phase: number) => Float32Array.from({ length: length + 1 }, (_, i) => Math.sin(3 * i + phase));
    const [data, gradient, first] = [make(1), make(2), make(3)];
    const second = make(4).map((value) => value * value);
    const before = [data, gradient, first, second].map((array) => Float64Array.from(array));
    const [p, g, m, v] = before as [Float64Array, Float64Array, Float64Array, Float64Array];
    const inside = (array: Float32Array): Float32Array => array.subarray(0, length);
    kernel(inside(data), inside(gradient), inside(first), inside(second), rates);
    for (let i = 0; i < length; i++) {
      const moment = 0.9 * m[i]! + 0.1 * 0.5 * g[i]!;
      const square = 0.99 * v[i]! + 0.01 * (0.5 * g[i]!) ** 2;
      const value = p[i]! * 0.99 - (0.02 * moment) / (Math.sqrt(square) * 3 + 1e-8);
      near([first[i]!, second[i]!], [moment, square], 1e-6);
      // near a square of 0 the step is large, and so is its rounding
      near([data[i]!], [value], 1e-6 * Math.max(1, Math.abs(value)));
    }
    assert.deepEqual(
      [data, gradient, first, second].map((array) => array[length]),
      before.map((array) => array[length]),
    );
  }
});

test('the first step moves by the learning rate against the sign of the gradient', () => {
  const parameters = [{ name: 'w', shape: [1, 2], data: Float32Array.of(1, 1) }];
  // m/(1−β1) = g and √(v/(1−β2)) = |g|, so the step is lr·sign(g); decay takes lr·wd of the weight: 1 − 0.1·0.5 ∓ 0.1.
  adamwUpdate(
    adamwInit(parameters),
    parameters,
    [Float32Array.of(3, -0.2)],
    { ...ADAMW_DEFAULTS, epsilon: 0, weightDecay: 0.5 },
    0.1,
  );
  near(parameters[0]!.data, [0.85, 1.05], 1e-6);
});

test('one-dimensional tensors do not decay', () => {
  const parameters = [{ name: 'norm', shape: [1], data: Float32Array.of(2) }];
  adamwUpdate(adamwInit(parameters), parameters, [Float32Array.of(0)], { ...ADAMW_DEFAULTS, weightDecay: 0.5 }, 0.1);
  assert.equal(parameters[0]!.data[0], 2);
});

test('a gradient of the wrong length is refused before anything moves', () => {
  const parameters = [
    { name: 'a', shape: [2], data: Float32Array.of(1, 1) },
    { name: 'b', shape: [2], data: Float32Array.of(1, 1) },
  ];
  const state = adamwInit(parameters);
  assert.throws(
    () => adamwUpdate(state, parameters, [Float32Array.of(1, 1), Float32Array.of(1)], ADAMW_DEFAULTS, 0.1),
    (error) => isSwarmError(error, 'GRAPH_SHAPE'),
  );
  assert.equal(state.step, 0);
  near(parameters[0]!.data, [1, 1], 0);
});

test('the norm of 3 and 4 over two tensors is 5, clipped to 1 by a factor of a fifth', () => {
  assert.equal(globalNorm([Float32Array.of(3), Float32Array.of(0, 0, 0, 0, 4)]), 5);
  near([clipScale(5, 1)], [0.2], 1e-6);
  assert.equal(clipScale(0.5, 1), 1);
  assert.ok(Number.isNaN(globalNorm([Float32Array.of(Number.NaN)])));
});

test('the schedule warms up, then holds or falls to its floor', () => {
  const schedule = { learningRate: 1, warmUpSteps: 4 };
  near(
    [0, 1, 2, 3, 4, 99].map((step) => learningRateAt(schedule, step)),
    [0.25, 0.5, 0.75, 1, 1, 1],
    1e-15,
  );
  const cosine = { learningRate: 1, warmUpSteps: 0, decaySteps: 10, floor: 0.2 };
  near(
    [0, 5, 10, 50].map((step) => learningRateAt(cosine, step)),
    [1, 0.6, 0.2, 0.2],
    1e-12,
  );
});
