// AdamW with decoupled weight decay, in place over flat arrays.
// Source: Loshchilov & Hutter, arXiv 1711.05101, algorithm 2; equal to PyTorch's torch.optim.AdamW.
// Invariant: parameters and moments are touched only by `adamwUpdate`, and only once every gradient has been looked at.

import { SwarmError } from '../../node/protocol/errors.ts';
import { type AdamwKernel, createAdamwKernel } from './adamw-kernel.ts';

/** One trainable tensor: `shape` decides whether weight decay applies (not to 1-D tensors: norms, biases). */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface AdamwSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decay a step, times the learning rate. */
  readonly weightDecay: number;
}

/** First and second moments, one array a parameter in the same order, and the number of steps taken. */
export interface AdamwState {
  step: number;
  readonly first: readonly Float32Array[];
  readonly second: readonly Float32Array[];
  readonly kernel: AdamwKernel;
}

export const ADAMW_DEFAULTS: AdamwSettings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };

/** Zero moments for `parameters`, in their order. */
export function adamwInit(parameters: readonly Parameter[]): AdamwState {
  const zeros = (): Float32Array[] => parameters.map(({ data }) => new Float32Array(data.length));
  return { step: 0, first: zeros(), second: zeros(), kernel: createAdamwKernel() };
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
export function adamwUpdate(
  state: AdamwState,
  parameters: readonly Parameter[],
  gradients: readonly Float32Array[],
  { beta1, beta2, epsilon, weightDecay }: AdamwSettings,
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
  const stepSize = learningRate / (1 - beta1 ** state.step);
  const secondScale = 1 / Math.sqrt(1 - beta2 ** state.step);
  parameters.forEach(({ shape, data }, index) => {
    const decay = shape.length > 1 ? 1 - learningRate * weightDecay : 1;
    const rates = { beta1, beta2, epsilon, decay, stepSize, secondScale, gradientScale };
    state.kernel(data, gradients[index]!, state.first[index]!, state.second[index]!, rates);
  });
}
