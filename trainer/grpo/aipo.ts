// AIPO: sg(min(w, ρ))·A·lp, w = exp(lp − lpμ): policy gradient corrected for the policy that sampled, truncated at ρ.
// Source: LlamaRL, arXiv 2505.24034 §4; V-trace (arXiv 1802.01561) with the group's mean as value reduces to ρ = 1.
// At lag 0 it is the plain policy gradient.

import { exp, greater, min, mul, stopGradient, sub } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';

export const aipo: LossRule = {
  defaults: { rho: 4 },
  readsOld: false,
  build({ logprobs, logprobsWorker, advantages }, { rho }) {
    const w = exp(sub(logprobs, logprobsWorker));
    return {
      objective: mul(mul(stopGradient(min(w, rho!)), advantages), logprobs),
      clippedLow: null,
      clippedHigh: greater(w, rho!),
    };
  },
};
