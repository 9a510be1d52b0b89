// CISPO: sg(clip(r, 0, 1+ε_high))·A·lp, r = exp(lp − lpOld): the weight is clipped, no token loses its gradient.
// Source: MiniMax-M1, arXiv 2506.13585 §3.1. No lower bound, as there.

import { clip, exp, greater, mul, stopGradient, sub } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';

export const cispo: LossRule = {
  defaults: { epsilonHigh: 4 },
  readsOld: true,
  build({ logprobs, logprobsOld, advantages }, { epsilonHigh }) {
    const ratio = exp(sub(logprobs, logprobsOld));
    const weight = stopGradient(clip(ratio, 0, 1 + epsilonHigh!));
    return {
      objective: mul(mul(weight, advantages), logprobs),
      clippedLow: null,
      clippedHigh: greater(ratio, 1 + epsilonHigh!),
    };
  },
};
