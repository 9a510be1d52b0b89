// One TOPLOC proof: a polynomial through the largest activations of a chunk, and its bytes.
// Source: spec/toploc.md "Format": m u16be ‖ c0 u16be ‖ … ; byte-compatible with the reference library (toploc 0.1.6).
// Unlike the reference, reading checks length, modulus and coefficients before anything is computed with them.

import { PROOF_TOKENS } from '../../node/protocol/limits.ts';
import { ProofError } from './error.ts';
import { PRIME } from './field.ts';
import { injectiveModulus, MAX_MODULUS, MIN_MODULUS, residuesOf } from './modulus.ts';
import { interpolate } from './polynomial.ts';
import { type TopValuesScratch, topValues } from './top-values.ts';

/** Generated tokens a proof covers (arXiv 2501.16007). */
export const CHUNK_TOKENS: number = PROOF_TOKENS;
/** Entries a proof keeps. */
export const TOP_K = 128;

/** A proof that was read and found well formed. */
export interface Proof {
  readonly modulus: number;
  /** ascending, each < 65497 */
  readonly coefficients: Uint16Array;
}

export type ProofProblem = 'length' | 'modulus' | 'coefficient';

/** How many entries a chunk of `rows` states has in its proof. */
export function proofEntries(rows: number, hiddenSize: number, topK: number = TOP_K): number {
  return Math.min(topK, rows * hiddenSize);
}

/** Bytes of a proof of that many entries. */
export function proofBytes(entries: number): number {
  return 2 + 2 * entries;
}

/** How many proofs a completion of `tokenCount` tokens owes: none for ≤ 1 (the state after the last token is never proved). */
export function proofCount(tokenCount: number): number {
  return tokenCount <= 1 ? 0 : Math.ceil((tokenCount - 1) / CHUNK_TOKENS);
}

/** Rows of states in chunk `index` of a completion of `tokenCount` tokens. */
export function chunkRows(tokenCount: number, index: number): number {
  return Math.max(0, Math.min(CHUNK_TOKENS, tokenCount - 1 - index * CHUNK_TOKENS));
}

/**
 * Polynomial through given points.
 * @param indices flat indices, distinct; @param bits signed bf16 patterns, each < 65497
 */
export function proofThrough(indices: Int32Array, bits: Uint16Array): Proof {
  if (bits.some((value) => value >= PRIME)) {
    throw new ProofError(
      'PROOF_NAN',
      `bit patterns from ${PRIME} on are negative NaNs and would alias; they are not proved`,
    );
  }
  const modulus = injectiveModulus(indices);
  return { modulus, coefficients: interpolate(residuesOf(indices, modulus), bits) };
}

/**
 * Proof of one chunk.
 * @param values bf16 bits [rows · hidden], not empty
 * @throws {ProofError} PROOF_NAN
 */
export function proveChunk(values: Uint16Array, scratch: TopValuesScratch, topK: number = TOP_K): Proof {
  const top = topValues(values, topK, scratch);
  return proofThrough(top.indices, top.bits);
}

/** Big-endian bytes of a proof. */
export function encodeProof(proof: Proof): Uint8Array {
  const bytes = new Uint8Array(proofBytes(proof.coefficients.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, proof.modulus);
  for (let i = 0; i < proof.coefficients.length; i++) view.setUint16(2 + 2 * i, proof.coefficients[i]!);
  return bytes;
}

/**
 * Reads one proof, trusting nothing.
 * @param entries how many coefficients it must have
 * @returns the proof, or what is wrong with it
 */
export function decodeProof(bytes: Uint8Array, entries: number): Proof | ProofProblem {
  if (bytes.length !== proofBytes(entries)) return 'length';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const modulus = view.getUint16(0);
  if (modulus < MIN_MODULUS || modulus > MAX_MODULUS) return 'modulus';
  const coefficients = new Uint16Array(entries);
  for (let i = 0; i < entries; i++) {
    const coefficient = view.getUint16(2 + 2 * i);
    if (coefficient >= PRIME) return 'coefficient';
    coefficients[i] = coefficient;
  }
  return { modulus, coefficients };
}
