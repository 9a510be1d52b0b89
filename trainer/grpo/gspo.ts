// GSPO: the sequence's ratio s = exp(mean over its tokens of lp − lpOld), clipped, for all of its tokens.
// Source: arXiv 2507.18071 §4.1. Needs whole sequences in the graph: micro-batches never split one.

import { div, exp, expand, max, mul, reduceSum, sub } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';
import { clippedSurrogate } from './surrogate.ts';

export const gspo: LossRule = {
  defaults: { epsilonLow: 3e-4, epsilonHigh: 4e-4 },
  readsOld: true,
  build({ logprobs, logprobsOld, advantages, mask }, { epsilonLow, epsilonHigh }) {
    const perSequence = { axes: [1], keepDims: true };
    const total = reduceSum(mul(sub(logprobs, logprobsOld), mask), perSequence);
    // rows that only fill up a group have no tokens
    const count = max(reduceSum(mask, perSequence), 1);
    const ratio = expand(exp(div(total, count)), logprobs.shape);
    return clippedSurrogate(ratio, advantages, 1 - epsilonLow!, 1 + epsilonHigh!);
  },
};
