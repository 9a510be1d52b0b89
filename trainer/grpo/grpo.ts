// Two-sided GRPO: min( min(r, δ)·A, clip(r, 1−ε, 1+ε)·A ), r = exp(lp − lpOld).
// Source: INTELLECT-2, arXiv 2505.07291 §3.4. Plain GRPO leaves r unbounded where A < 0; δ bounds it: beyond, the value is
// δ·A and the gradient 0.

import { and, exp, greater, less, min, or, sub } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';
import { clippedSurrogate } from './surrogate.ts';

export const grpo: LossRule = {
  defaults: { epsilon: 0.2, delta: 4 },
  readsOld: true,
  build({ logprobs, logprobsOld, advantages }, { epsilon, delta }) {
    const ratio = exp(sub(logprobs, logprobsOld));
    const surrogate = clippedSurrogate(ratio, advantages, 1 - epsilon!, 1 + epsilon!, min(ratio, delta!));
    const beyondDelta = and(less(advantages, 0), greater(ratio, delta!));
    return { ...surrogate, clippedHigh: or(surrogate.clippedHigh!, beyondDelta) };
  },
};
