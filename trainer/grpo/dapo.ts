// DAPO: min( r·A, clip(r, 1−ε_low, 1+ε_high)·A ), r = exp(lp − lpOld): more room upwards, so that rare tokens can grow.
// Source: arXiv 2503.14476 §3.1 (clip-higher). Its token-level normalisation is a setting of its own here.

import { exp, sub } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';
import { clippedSurrogate } from './surrogate.ts';

export const dapo: LossRule = {
  defaults: { epsilonLow: 0.2, epsilonHigh: 0.28 },
  readsOld: true,
  build({ logprobs, logprobsOld, advantages }, { epsilonLow, epsilonHigh }) {
    return clippedSurrogate(exp(sub(logprobs, logprobsOld)), advantages, 1 - epsilonLow!, 1 + epsilonHigh!);
  },
};
