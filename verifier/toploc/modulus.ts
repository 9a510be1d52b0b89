// The injective modulus of a set of flat indices.
// Source: spec/toploc.md "Format": the largest m ≤ 65497, not below 32769, for which all x mod m are distinct.

import { ProofError } from './error.ts';
import { PRIME } from './field.ts';

/** The bounds of a modulus on the wire. */
export const MAX_MODULUS: number = PRIME;
export const MIN_MODULUS = 32769;

/**
 * @param indices distinct, non-negative
 * @throws {ProofError} PROOF_MALFORMED when no modulus separates them (two equal indices)
 */
export function injectiveModulus(indices: Int32Array): number {
  if (areOwnResidues(indices)) return MAX_MODULUS;
  const residues = new Uint8Array(MAX_MODULUS);
  for (let modulus = MAX_MODULUS; modulus >= MIN_MODULUS; modulus--) {
    let marked = 0;
    for (; marked < indices.length; marked++) {
      const residue = indices[marked]! % modulus;
      if (residues[residue] !== 0) break;
      residues[residue] = 1;
    }
    if (marked === indices.length) return modulus;
    for (let i = 0; i < marked; i++) residues[indices[i]! % modulus] = 0;
  }
  throw new ProofError('PROOF_MALFORMED', 'no modulus keeps these indices apart; are two of them equal?');
}

/** Ascending and below the largest modulus, as those of a chunk of at most 2 046 values a row are. */
function areOwnResidues(indices: Int32Array): boolean {
  for (let i = 1; i < indices.length; i++) if (indices[i]! <= indices[i - 1]!) return false;
  return indices.length === 0 || (indices[0]! >= 0 && indices.at(-1)! < MAX_MODULUS);
}

/** x mod m for each index. */
export function residuesOf(indices: Int32Array, modulus: number): Uint16Array {
  const out = new Uint16Array(indices.length);
  for (let i = 0; i < indices.length; i++) out[i] = indices[i]! % modulus;
  return out;
}
