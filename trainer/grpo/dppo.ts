// DPPO: A·w, w = exp(lp − lpμ), dropped where the probability itself moved more than τ the way that A pushes;
// minus kl·(log w)² on all tokens, dropped ones too.
// Source: spec/grpo.md (prime-rl 2026). A trust region in probability, not in ratio: rare tokens may move freely.

import { and, exp, greater, less, mul, or, sub, where } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';

export const dppo: LossRule = {
  defaults: { tau: 0.2, kl: 1e-3 },
  readsOld: false,
  build({ logprobs, logprobsWorker, advantages }, { tau, kl }) {
    const logRatio = sub(logprobs, logprobsWorker);
    const moved = sub(exp(logprobs), exp(logprobsWorker));
    const clippedHigh = and(greater(advantages, 0), greater(moved, tau!));
    const clippedLow = and(less(advantages, 0), less(moved, -tau!));
    const kept = where(or(clippedLow, clippedHigh), 0, mul(exp(logRatio), advantages));
    return { objective: sub(kept, mul(mul(logRatio, logRatio), kl!)), clippedLow, clippedHigh };
  },
};
