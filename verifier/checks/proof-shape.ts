// [REJECT] Proofs are well formed and exactly as many as due.
// Source: spec/toploc.md "Where the reference goes wrong": length, modulus, coefficients and count are checked before use.

import { ACCEPT, type CheckAnswer, reject } from '../../node/protocol/check.ts';
import { decodeProofs } from '../toploc/completion.ts';
import type { BodySubject, Check } from './subject.ts';

export const proofShape: Check<BodySubject> = { name: 'proof-shape', cost: 'tokens', run: checkProofShape };

function checkProofShape({ context, body }: BodySubject): CheckAnswer {
  for (let sequence = 0; sequence < body.sequences.length; sequence++) {
    const { tokens, proofs } = body.sequences[sequence]!;
    const read = decodeProofs(proofs, tokens.length, context.hiddenSize);
    if (!('problem' in read)) continue;
    const code = read.problem === 'count' ? 'PROOF_COUNT' : 'PROOF_MALFORMED';
    return reject(code, { sequence, position: read.chunk, note: read.problem });
  }
  return ACCEPT;
}
