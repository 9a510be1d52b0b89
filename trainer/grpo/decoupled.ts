// Decoupled PPO: sg(exp(lpProx − lpμ)) · min( r·A, clip(r, 1−ε, 1+ε)·A ), r = exp(lp − lpProx), lpProx = lpOld.
// Source: AReaL, arXiv 2505.24298 §5.2. The first factor corrects for the policy that sampled, the clip is around recent weights.

import { exp, mul, stopGradient, sub } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';
import { clippedSurrogate } from './surrogate.ts';

export const decoupled: LossRule = {
  defaults: { epsilon: 0.2 },
  readsOld: true,
  build({ logprobs, logprobsOld, logprobsWorker, advantages }, { epsilon }) {
    const behaviour = stopGradient(exp(sub(logprobsOld, logprobsWorker)));
    const surrogate = clippedSurrogate(exp(sub(logprobs, logprobsOld)), advantages, 1 - epsilon!, 1 + epsilon!);
    return { ...surrogate, objective: mul(behaviour, surrogate.objective) };
  },
};
