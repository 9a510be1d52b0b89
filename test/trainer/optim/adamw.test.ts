// AdamW, clipping and the schedule: worked numbers, PyTorch's vectors, f32 against f64.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import {
  ADAMW_DEFAULTS,
  adamwInit,
  adamwUpdate,
  type FloatArray,
  type Parameter,
} from '../../../trainer/optim/adamw.ts';
import { clipScale, globalNorm } from '../../../trainer/optim/clip.ts';
import { learningRateAt } from '../../../trainer/optim/schedule.ts';
import { type AdamwCase, grpoVectors } from '../../support/grpo-vectors.ts';

const near = (got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void => {
  assert.equal(got.length, expected.length);
  for (let i = 0; i < got.length; i++)
    assert.ok(Math.abs(got[i]! - expected[i]!) <= tolerance, `[${i}] ${got[i]} against ${expected[i]}`);
};

function replay<A extends FloatArray>(
  vector: AdamwCase,
  make: (values: readonly number[]) => A,
  tolerance: number,
): void {
  const shapes = [[3, 2], [4]];
  const parameters: Parameter<A>[] = vector.start.map((start, i) => ({
    name: `p${i}`,
    shape: shapes[i]!,
    data: make(start),
  }));
  const state = adamwInit(parameters);
  const settings = {
    beta1: vector.betas[0],
    beta2: vector.betas[1],
    epsilon: vector.eps,
    weightDecay: vector.weight_decay[0]!,
  };
  vector.steps.forEach((step, k) => {
    const gradients = step.grads.map(make);
    const norm = globalNorm(gradients);
    near([norm], [step.norm_before_clip], tolerance);
    const rate = learningRateAt({ learningRate: 0.01, warmupSteps: 3 }, k);
    near([rate], [step.lr], 1e-15);
    adamwUpdate(state, parameters, gradients, settings, rate, clipScale(norm, vector.clip_norm));
    step.after.forEach((after, i) => {
      near(parameters[i]!.data, after, tolerance);
    });
  });
}

test('six AdamW steps equal PyTorch in f64', () => {
  for (const vector of grpoVectors().adamw) replay(vector, (values) => Float64Array.from(values), 1e-9);
});

test('six AdamW steps in f32 stay within 1e-5 of PyTorch', () => {
  for (const vector of grpoVectors().adamw) replay(vector, (values) => Float32Array.from(values), 1e-5);
});

test('the first step moves by the learning rate against the sign of the gradient', () => {
  const parameters = [{ name: 'w', shape: [1, 2], data: Float64Array.of(1, 1) }];
  // m/(1−β1) = g and √(v/(1−β2)) = |g|, so the step is lr·sign(g); decay takes lr·wd of the weight: 1 − 0.1·0.5 ∓ 0.1.
  adamwUpdate(
    adamwInit(parameters),
    parameters,
    [Float64Array.of(3, -0.2)],
    { ...ADAMW_DEFAULTS, epsilon: 0, weightDecay: 0.5 },
    0.1,
  );
  near(parameters[0]!.data, [0.85, 1.05], 1e-12);
});

test('one-dimensional tensors do not decay', () => {
  const parameters = [{ name: 'norm', shape: [1], data: Float64Array.of(2) }];
  adamwUpdate(adamwInit(parameters), parameters, [Float64Array.of(0)], { ...ADAMW_DEFAULTS, weightDecay: 0.5 }, 0.1);
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
  const schedule = { learningRate: 1, warmupSteps: 4 };
  near(
    [0, 1, 2, 3, 4, 99].map((step) => learningRateAt(schedule, step)),
    [0.25, 0.5, 0.75, 1, 1, 1],
    1e-15,
  );
  const cosine = { learningRate: 1, warmupSteps: 0, decaySteps: 10, floor: 0.2 };
  near(
    [0, 5, 10, 50].map((step) => learningRateAt(cosine, step)),
    [1, 0.6, 0.2, 0.2],
    1e-12,
  );
});
