// Random weights for a model that is to be trained from nothing.
// Source: matrices N(0, 1/fan_in) (LeCun), projections into the residual stream divided by √(2·layers) (GPT-2 §2.3), norms 1, biases 0.
// Invariant: a tensor's values depend on the seed, its name and its shape only, not on the order of tensors.

import { createHash } from 'node:crypto';
import { type ModelConfig, requiredTensors } from '../node/model/config.ts';
import { elementCount, type Weights, type WeightTensor } from '../node/model/weights.ts';
import { type UniformStream, uniformStream } from '../node/protocol/seeds.ts';

/** Standard deviation of token embeddings: small, since a tied head multiplies by them again. */
const EMBEDDING_STD = 0.05;

/**
 * A stream of uniforms for one purpose.
 * @param seed any integer
 * @param label what it is for, such as a tensor's name: streams of different labels are independent
 */
export function labelledStream(seed: number, label: string): UniformStream {
  return uniformStream(createHash('sha256').update(`${seed}:${label}`).digest());
}

function standardDeviation(name: string, shape: readonly number[], layers: number): number {
  if (name === 'model.embed_tokens.weight' || name === 'lm_head.weight') return EMBEDDING_STD;
  const fanIn = 1 / Math.sqrt(shape[1]!);
  return /\.(o_proj|down_proj)\.weight$/.test(name) ? fanIn / Math.sqrt(2 * layers) : fanIn;
}

/** One normal a pair of uniforms (Box–Muller). */
function fillNormal(data: Float32Array, std: number, draw: UniformStream): void {
  for (let i = 0; i < data.length; i++) {
    data[i] = std * Math.sqrt(-2 * Math.log(1 - draw.next())) * Math.cos(2 * Math.PI * draw.next());
  }
}

function initialTensor(name: string, shape: readonly number[], layers: number, seed: number): WeightTensor {
  const data = new Float32Array(elementCount(shape));
  if (shape.length > 1) fillNormal(data, standardDeviation(name, shape, layers), labelledStream(seed, name));
  else if (!name.endsWith('.bias')) data.fill(1);
  return { shape, data };
}

/**
 * Weights to begin a warm-up with.
 * @param config what the graph needs; its tensors are `requiredTensors(config)`
 * @param seed the same seed gives the same weights
 */
export function initWeights(config: ModelConfig, seed: number): Weights {
  return new Map(
    requiredTensors(config).map(({ name, shape }) => [name, initialTensor(name, shape, config.layers, seed)]),
  );
}
