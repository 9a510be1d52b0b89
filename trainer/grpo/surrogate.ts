// The clipped surrogate that PPO and its descendants share: min(ρ·A, clip(ρ, low, high)·A).
// Source: PPO, arXiv 1707.06347 eq. 7. The gradient is zero exactly where a step would move a ratio further out.
// Ties (ρ inside the clip range) carry the gradient of ρ·A either way.

import { and, clip, greater, less, min, mul } from '../../node/model/graph/ops.ts';
import type { Value } from '../../node/model/graph/value.ts';
import type { TokenObjective } from './loss.ts';

/**
 * The surrogate of one ratio.
 * @param ratio [batch, tokens], gradients flow through it
 * @param advantages [batch, 1]
 * @param low, high bounds of the clip, around 1
 * @param unclipped what stands for the ratio in the unclipped branch; default the ratio itself
 */
export function clippedSurrogate(
  ratio: Value,
  advantages: Value,
  low: number,
  high: number,
  unclipped: Value = ratio,
): TokenObjective {
  return {
    objective: min(mul(unclipped, advantages), mul(clip(ratio, low, high), advantages)),
    clippedLow: and(less(advantages, 0), less(ratio, low)),
    clippedHigh: and(greater(advantages, 0), greater(ratio, high)),
  };
}
