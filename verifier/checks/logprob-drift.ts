// [REJECT] The claimed log-probs are this policy's: every token within maxLogprobDrift, the mean within maxMeanLogprobDrift.
// Source: spec/rollouts.md "Replay", question 2. Two sides.

import type { CheckAnswer } from '../../node/protocol/check.ts';
import type { Check, ReplaySubject } from './subject.ts';
import { graver, holdAgainst } from './two-sided.ts';

export const logprobDrift: Check<ReplaySubject> = { name: 'logprob-drift', cost: 'model', run: checkLogprobDrift };

function checkLogprobDrift({ rollout, sequence, replayed, limits }: ReplaySubject): CheckAnswer {
  const claimed = rollout.logprobs;
  let largest = -1;
  let position = 0;
  let sum = 0;
  for (let t = 0; t < claimed.length; t++) {
    const drift = Math.abs(claimed[t]! - replayed.logprobs[t]!);
    sum += drift;
    if (drift > largest) {
      largest = drift;
      position = t;
    }
  }
  return graver(
    holdAgainst(largest, limits.maxLogprobDrift, 'LOGPROB_DRIFT', { sequence, position, note: 'largest' }),
    holdAgainst(sum / claimed.length, limits.maxMeanLogprobDrift, 'LOGPROB_DRIFT', { sequence, note: 'mean' }),
  );
}
