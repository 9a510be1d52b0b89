// [REJECT] The committed activations are this policy's, chunk by chunk.
// Source: spec/toploc.md "Verification"; spec/rollouts.md "Replay", question 3. Two sides.

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import { compareCompletion, decodeProofs } from '../toploc/completion.ts';
import type { Check, ReplaySubject } from './subject.ts';
import { graver, holdAgainst } from './two-sided.ts';

export const toploc: Check<ReplaySubject> = { name: 'toploc', cost: 'model', run: checkToploc };

function checkToploc({ rollout, sequence, replayed, hiddenSize, limits }: ReplaySubject): CheckAnswer {
  const { tokens, proofs } = rollout;
  const read = decodeProofs(proofs, tokens.length, hiddenSize);
  if ('problem' in read) return reject('PROOF_MALFORMED', { sequence, position: read.chunk, note: read.problem });
  let answer: CheckAnswer = ACCEPT;
  const distances = compareCompletion(replayed.hidden, hiddenSize, read);
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
