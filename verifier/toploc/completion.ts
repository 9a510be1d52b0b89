// All proofs of one completion: cutting its states into chunks, building, reading, comparing.
// Source: spec/toploc.md "Format" (first committed state is the one after reading output token 1).

import { compareChunk, type ProofDistance } from './compare.ts';
import { ProofError } from './error.ts';
import {
  CHUNK_TOKENS,
  chunkRows,
  decodeProof,
  encodeProof,
  type Proof,
  type ProofProblem,
  proofBytes,
  proofCount,
  proofEntries,
  proveChunk,
} from './proof.ts';
import { createTopValuesScratch, type TopValuesScratch } from './top-values.ts';

/** Why a concatenation of proofs cannot be read: `count` is one too many or too few. */
export interface ProofsProblem {
  readonly chunk: number;
  readonly problem: ProofProblem | 'count';
}

/**
 * Proofs of the states of one completion, concatenated.
 * @param hidden bf16 bits [(tokens − 1) · hiddenSize]
 * @throws {ProofError} PROOF_NAN; PROOF_MALFORMED when `hidden` is not whole rows
 */
export function proveCompletion(
  hidden: Uint16Array,
  hiddenSize: number,
  scratch: TopValuesScratch = createTopValuesScratch(),
): Uint8Array {
  if (hidden.length % hiddenSize !== 0) {
    throw new ProofError('PROOF_MALFORMED', `states must be whole rows of ${hiddenSize}, got ${hidden.length} values`);
  }
  const parts: Uint8Array[] = [];
  for (let from = 0; from < hidden.length; from += CHUNK_TOKENS * hiddenSize) {
    parts.push(encodeProof(proveChunk(hidden.subarray(from, from + CHUNK_TOKENS * hiddenSize), scratch)));
  }
  return Buffer.concat(parts);
}

/**
 * Reads the proofs of a completion of `tokenCount` tokens: exactly as many as due, each well formed.
 * @returns the proofs, or the first that is wrong
 */
export function decodeProofs(
  bytes: Uint8Array,
  tokenCount: number,
  hiddenSize: number,
): readonly Proof[] | ProofsProblem {
  const due = proofCount(tokenCount);
  const proofs: Proof[] = [];
  let offset = 0;
  for (let chunk = 0; chunk < due; chunk++) {
    const entries = proofEntries(chunkRows(tokenCount, chunk), hiddenSize);
    const end = offset + proofBytes(entries);
    if (offset >= bytes.length) return { chunk, problem: 'count' };
    const proof = decodeProof(bytes.subarray(offset, end), entries);
    if (typeof proof === 'string') return { chunk, problem: proof };
    proofs.push(proof);
    offset = end;
  }
  return offset === bytes.length ? proofs : { chunk: due, problem: 'count' };
}

/**
 * Distance of each proof from recomputed states.
 * @param hidden bf16 bits [(tokens − 1) · hiddenSize]
 * @throws {ProofError} PROOF_NAN
 */
export function compareCompletion(
  hidden: Uint16Array,
  hiddenSize: number,
  proofs: readonly Proof[],
  scratch: TopValuesScratch = createTopValuesScratch(),
): readonly ProofDistance[] {
  const chunkValues = CHUNK_TOKENS * hiddenSize;
  return proofs.map((proof, chunk) =>
    compareChunk(hidden.subarray(chunk * chunkValues, (chunk + 1) * chunkValues), proof, scratch),
  );
}
