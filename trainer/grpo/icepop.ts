// IcePop: w·A·lp with w = exp(lp − lpμ) held constant, tokens whose w leaves [low, high] masked out entirely.
// Source: as INTELLECT-3 runs it, arXiv 2512.16144; spec/grpo.md. Masked tokens still count in the normalisation.

import { exp, greater, less, mul, or, stopGradient, sub, where } from '../../node/model/graph/ops.ts';
import type { LossRule } from './loss.ts';

export const icepop: LossRule = {
  defaults: { low: 0.5, high: 5 },
  readsOld: false,
  build({ logprobs, logprobsWorker, advantages }, { low, high }) {
    const w = exp(sub(logprobs, logprobsWorker));
    const clippedLow = less(w, low!);
    const clippedHigh = greater(w, high!);
    const weight = stopGradient(where(or(clippedLow, clippedHigh), 0, w));
    return { objective: mul(mul(weight, advantages), logprobs), clippedLow, clippedHigh };
  },
};
