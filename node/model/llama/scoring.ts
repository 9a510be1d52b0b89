// Log-probs of given tokens and entropies, computed inside the graph: nothing of size [tokens × vocabulary] leaves it.

import type { ModelConfig } from '../config.ts';
import { exp, gatherElements, gemm, mul, neg, reciprocal, reduceSum, reshape } from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { type GraphWeights, headWeight, MASKED_SCORE } from './layers.ts';

/** Additive mask [vocabulary] of ids that have no token; null when every id has one. */
export function paddedVocabularyMask(config: ModelConfig, tokenCount: number): Float32Array | null {
  if (tokenCount >= config.vocabSize) return null;
  return Float32Array.from({ length: config.vocabSize }, (_, id) => (id < tokenCount ? 0 : MASKED_SCORE));
}

/**
 * Logits / temperature, [rows, vocabulary].
 * The temperature divides the hidden states (d of them) instead of the logits (vocabulary of them): the same product.
 * @param hidden [rows, d]
 * @param temperature float32 scalar
 * @param vocabularyMask float32[vocabulary], added
 */
export function scaledLogits(
  config: ModelConfig,
  weights: GraphWeights,
  hidden: Value,
  temperature: Value,
  vocabularyMask: Value | null,
): Value {
  const scaled = mul(hidden, reciprocal(temperature));
  return gemm(scaled, headWeight(weights, config), {
    transB: true,
    ...(vocabularyMask ? { bias: vocabularyMask } : {}),
  });
}

/** Log-prob of each row's target: logProbs [rows, vocabulary], targets int32[batch, tokens] → [batch, tokens]. */
export function targetLogProbs(logProbs: Value, targets: Value): Value {
  return reshape(gatherElements(logProbs, reshape(targets, [logProbs.shape[0]!, 1])), targets.shape);
}

/** −Σ p·log p of each row, in nats: [rows, vocabulary] → [batch, tokens]. */
export function entropies(logProbs: Value, grid: Value): Value {
  return reshape(neg(reduceSum(mul(exp(logProbs), logProbs), { axes: [-1] })), grid.shape);
}
