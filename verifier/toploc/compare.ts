// How far a proof is from recomputed activations.
// Source: spec/toploc.md "Verification": own top indices, the proof evaluated at (index mod m), exponent and mantissa bits
// compared, signs ignored; the median of an even count is the mean of the two middle values.

import { residuesOf } from './modulus.ts';
import { evaluate } from './polynomial.ts';
import type { Proof } from './proof.ts';
import { TOP_K } from './proof.ts';
import { type TopValuesScratch, topValues } from './top-values.ts';

const EXPONENT_SHIFT = 7;
const EXPONENT_BITS = 0xff;
const MANTISSA_BITS = 0x7f;

/** What one chunk says. When no exponent agrees, mean and median are +∞. */
export interface ProofDistance {
  readonly exponentMismatches: number;
  readonly mantissaErrorMean: number;
  readonly mantissaErrorMedian: number;
}

/**
 * @param values bf16 bits of the recomputed chunk [rows · hidden]
 * @throws {ProofError} PROOF_NAN when the recomputed activations hold a NaN
 */
export function compareChunk(
  values: Uint16Array,
  proof: Proof,
  scratch: TopValuesScratch,
  topK: number = TOP_K,
): ProofDistance {
  const own = topValues(values, topK, scratch);
  const claimed = evaluate(proof.coefficients, residuesOf(own.indices, proof.modulus));
  return distance(own.bits, claimed);
}

function distance(own: Uint16Array, claimed: Uint16Array): ProofDistance {
  // Mantissa errors are integers 0…127, so counting them gives mean and median without a sort.
  const errors = new Uint32Array(MANTISSA_BITS + 1);
  let agreeing = 0;
  let sum = 0;
  for (let i = 0; i < own.length; i++) {
    if (((own[i]! >> EXPONENT_SHIFT) & EXPONENT_BITS) !== ((claimed[i]! >> EXPONENT_SHIFT) & EXPONENT_BITS)) continue;
    const error = Math.abs((own[i]! & MANTISSA_BITS) - (claimed[i]! & MANTISSA_BITS));
    errors[error]!++;
    sum += error;
    agreeing++;
  }
  const exponentMismatches = own.length - agreeing;
  if (agreeing === 0) return { exponentMismatches, mantissaErrorMean: Infinity, mantissaErrorMedian: Infinity };
  return { exponentMismatches, mantissaErrorMean: sum / agreeing, mantissaErrorMedian: median(errors, agreeing) };
}

function median(counts: Uint32Array, total: number): number {
  const low = nthSmallest(counts, Math.floor((total - 1) / 2));
  return total % 2 === 1 ? low : (low + nthSmallest(counts, total / 2)) / 2;
}

function nthSmallest(counts: Uint32Array, n: number): number {
  let passed = 0;
  for (let value = 0; value < counts.length; value++) {
    passed += counts[value]!;
    if (passed > n) return value;
  }
  return counts.length - 1;
}
