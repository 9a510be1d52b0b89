// [REJECT] The committed activations are this policy's, chunk by chunk.
// Source: spec/toploc.md "Verification"; spec/rollouts.md "Replay", question 3. Two sides.

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import type { ProofDistance } from '../toploc/compare.ts';
import { compareCompletion, decodeProofs, type ProofsProblem } from '../toploc/completion.ts';
import type { TopValuesScratch } from '../toploc/top-values.ts';
import type { Check, ReplaySubject } from './subject.ts';
import { graver, holdAgainst } from './two-sided.ts';

export const toploc: Check<ReplaySubject> = { name: 'toploc', cost: 'model', run: checkToploc };

/** How far a sequence's proofs are from its replay, or why they cannot be read. */
export function distancesOf(
  { rollout, replayed, hiddenSize }: ReplaySubject,
  scratch?: TopValuesScratch,
): readonly ProofDistance[] | ProofsProblem {
  const read = decodeProofs(rollout.proofs, rollout.tokens.length, hiddenSize);
  return 'problem' in read ? read : compareCompletion(replayed.hidden, hiddenSize, read, scratch);
}

function checkToploc(subject: ReplaySubject): CheckAnswer {
  const { sequence, limits } = subject;
  const distances = subject.known?.distances ?? distancesOf(subject);
  if ('problem' in distances) {
    return reject('PROOF_MALFORMED', { sequence, position: distances.chunk, note: distances.problem });
  }
  let answer: CheckAnswer = ACCEPT;
  for (let position = 0; position < distances.length && answer.answer !== 'reject'; position++) {
    const found = distances[position]!;
    const hold = (measured: number, limit: number, note: string): void => {
      answer = graver(answer, holdAgainst(measured, limit, 'TOPLOC_MISMATCH', { sequence, position, note }));
    };
    hold(found.exponentMismatches, limits.maxExponentMismatches, 'exponent mismatches');
    hold(found.mantissaErrorMean, limits.maxMantissaErrorMean, 'mantissa error mean');
    hold(found.mantissaErrorMedian, limits.maxMantissaErrorMedian, 'mantissa error median');
  }
  return answer;
}
