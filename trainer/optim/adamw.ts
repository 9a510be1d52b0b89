// AdamW with decoupled weight decay, in place over flat arrays, as a pure {init, update} pair.
// Source: Loshchilov & Hutter, arXiv 1711.05101, algorithm 2; equal to PyTorch's torch.optim.AdamW.
// Invariant: parameters and moments are touched only by `adamwUpdate`, and only once every gradient has been read.

import { SwarmError } from '../../node/protocol/errors.ts';

/** f32 in training; f64 where a test wants more digits. */
export type FloatArray = Float32Array | Float64Array;

/** One trainable tensor: `shape` decides whether weight decay applies (not to 1-D tensors: norms, biases). */
export interface Parameter<A extends FloatArray = Float32Array> {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: A;
}

export interface AdamwSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decay a step, times the learning rate. */
  readonly weightDecay: number;
}

/** First and second moments, one array a parameter in the same order, and the number of steps taken. */
export interface AdamwState<A extends FloatArray = Float32Array> {
  step: number;
  readonly first: readonly A[];
  readonly second: readonly A[];
}

export const ADAMW_DEFAULTS: AdamwSettings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };

/** Zero moments for `parameters`, of the same array type and order. */
export function adamwInit<A extends FloatArray>(parameters: readonly Parameter<A>[]): AdamwState<A> {
  const zeros = (): A[] => parameters.map(({ data }) => data.slice().fill(0) as A);
  return { step: 0, first: zeros(), second: zeros() };
}

/**
 * One AdamW step, in place:
 *   m ← β1·m + (1−β1)·g,  v ← β2·v + (1−β2)·g²,
 *   p ← p·(1 − lr·wd) − lr·(m/(1−β1ᵗ)) / (√(v/(1−β2ᵗ)) + ε).
 * @param gradients one array a parameter, same order and lengths
 * @param learningRate of this step, after the schedule
 * @param gradientScale multiplied into every gradient (global-norm clipping, without a pass of its own)
 * @throws {SwarmError} GRAPH_SHAPE when a gradient does not have its parameter's length
 */
export function adamwUpdate<A extends FloatArray>(
  state: AdamwState<A>,
  parameters: readonly Parameter<A>[],
  gradients: readonly A[],
  settings: AdamwSettings,
  learningRate: number,
  gradientScale: number = 1,
): void {
  parameters.forEach(({ name, data }, index) => {
    const got = gradients[index]?.length ?? 0;
    if (got === data.length) return;
    throw new SwarmError(
      'GRAPH_SHAPE',
      `gradient of ${name} has ${got} values, expected ${data.length}: gradients must come in the order of the parameters`,
    );
  });
  state.step += 1;
  const stepSize = learningRate / (1 - settings.beta1 ** state.step);
  const secondScale = 1 / Math.sqrt(1 - settings.beta2 ** state.step);
  parameters.forEach(({ shape, data }, index) => {
    const decay = shape.length > 1 ? 1 - learningRate * settings.weightDecay : 1;
    updateTensor(data, gradients[index]!, state.first[index]!, state.second[index]!, settings, {
      decay,
      stepSize,
      secondScale,
      gradientScale,
    });
  });
}

interface Rates {
  readonly decay: number;
  readonly stepSize: number;
  readonly secondScale: number;
  readonly gradientScale: number;
}

// One pass over the four arrays: the loop is bound by memory, so clipping's scale is applied here too (measured).
function updateTensor<A extends FloatArray>(
  data: A,
  gradient: A,
  first: A,
  second: A,
  { beta1, beta2, epsilon }: AdamwSettings,
  { decay, stepSize, secondScale, gradientScale }: Rates,
): void {
  for (let i = 0; i < data.length; i++) {
    const g = gradient[i]! * gradientScale;
    const m = beta1 * first[i]! + (1 - beta1) * g;
    const v = beta2 * second[i]! + (1 - beta2) * g * g;
    first[i] = m;
    second[i] = v;
    data[i] = data[i]! * decay - (stepSize * m) / (Math.sqrt(v) * secondScale + epsilon);
  }
}
