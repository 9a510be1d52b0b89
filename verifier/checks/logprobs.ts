// [REJECT] Every claimed log-prob is finite and in [−60, 0].
// Source: spec/rollouts.md stage 1. What lies inside is held against the policy in stage 2 (logprob-drift.ts).

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import type { BodySubject, Check } from './subject.ts';

/** e^−60 is 1e-26: no sampler with 53-bit uniforms ever draws such a token. */
export const MIN_LOGPROB = -60;

export const logprobs: Check<BodySubject> = { name: 'logprobs', cost: 'tokens', run: checkLogprobs };

function checkLogprobs({ body }: BodySubject): CheckAnswer {
  for (let sequence = 0; sequence < body.sequences.length; sequence++) {
    const list = body.sequences[sequence]!.logprobs;
    for (let position = 0; position < list.length; position++) {
      const claimed = list[position]!;
      // False for NaN, too.
      if (!(claimed >= MIN_LOGPROB && claimed <= 0)) {
        return reject('LOGPROB_INVALID', { sequence, position, measured: claimed, limit: MIN_LOGPROB });
      }
    }
  }
  return ACCEPT;
}
