// TOPLOC against the reference library's own bytes and figures (test/vectors/toploc.json).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareChunk } from '../../../verifier/toploc/compare.ts';
import { injectiveModulus } from '../../../verifier/toploc/modulus.ts';
import {
  CHUNK_TOKENS,
  decodeProof,
  encodeProof,
  type Proof,
  proofEntries,
  proofThrough,
  proveChunk,
} from '../../../verifier/toploc/proof.ts';
import { createTopValuesScratch } from '../../../verifier/toploc/top-values.ts';

interface ProofCase {
  readonly name: string;
  readonly tokens: number;
  readonly hidden: number;
  readonly topk: number;
  readonly activations_bf16_le_base64: string;
  readonly proofs_hex: readonly string[];
}

interface VerdictCase {
  readonly proofs_of: string;
  readonly kind: string;
  readonly path: string;
  readonly activations_bf16_le_base64: string | null;
  readonly results: readonly {
    readonly exponent_mismatches: number;
    readonly mantissa_error_mean: number;
    readonly mantissa_error_median: number;
  }[];
}

interface Vectors {
  readonly points: readonly { x: number[]; y_bits: number[]; modulus: number; bytes_hex: string }[];
  readonly moduli: readonly { x: number[]; modulus: number }[];
  readonly proofs: readonly ProofCase[];
  readonly verdicts: readonly VerdictCase[];
}

const folder = process.env['MURMUR_VECTORS'] ?? 'test/vectors';
const vectors = JSON.parse(readFileSync(join(folder, 'toploc.json'), 'utf8')) as Vectors;
const scratch = createTopValuesScratch();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function bf16(base64: string): Uint16Array {
  const bytes = Buffer.from(base64, 'base64');
  return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i));
}

function chunks(values: Uint16Array, hidden: number): Uint16Array[] {
  const size = CHUNK_TOKENS * hidden;
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => values.subarray(i * size, (i + 1) * size));
}

/** Where every exponent differs the library writes 2^64 for infinity. */
function figure(value: number): number {
  return value >= 2 ** 63 ? Infinity : value;
}

/** The library's C++ path takes the upper of the two middle values; ours is only bounded by it then. */
function assertMedian(ours: number, theirs: number, path: string): void {
  if (path.startsWith('python')) assert.ok(ours === theirs || Math.abs(ours - theirs) <= 1e-9, `${ours} ≠ ${theirs}`);
  else assert.ok(ours <= theirs, `${ours} must not exceed the upper middle value ${theirs}`);
}

test('points become the library’s bytes', () => {
  for (const point of vectors.points) {
    const proof = proofThrough(Int32Array.from(point.x), Uint16Array.from(point.y_bits));
    assert.equal(proof.modulus, point.modulus);
    assert.equal(hex(encodeProof(proof)), point.bytes_hex);
  }
});

test('the two worked examples of the spec', () => {
  const y = Uint16Array.of(0x3f80, 0xbf80, 0x4000, 0xc000);
  assert.equal(hex(encodeProof(proofThrough(Int32Array.of(1, 2, 3, 4), y))), 'ffd9c064539080cbaa73');
  assert.equal(hex(encodeProof(proofThrough(Int32Array.of(5, 65502, 7, 9), y))), 'ffd874315b592184da76');
});

test('colliding index sets find the library’s modulus', () => {
  for (const { x, modulus } of vectors.moduli) assert.equal(injectiveModulus(Int32Array.from(x)), modulus);
});

test('activations become the library’s proofs, the partial last chunk too', () => {
  for (const item of vectors.proofs) {
    const built = chunks(bf16(item.activations_bf16_le_base64), item.hidden).map((chunk) =>
      hex(encodeProof(proveChunk(chunk, scratch, item.topk))),
    );
    assert.deepEqual(built, item.proofs_hex, item.name);
  }
});

test('disturbed activations measure as far from the proofs as the library says', () => {
  for (const verdict of vectors.verdicts) {
    const source = vectors.proofs.find((item) => item.name === verdict.proofs_of)!;
    const values = bf16(verdict.activations_bf16_le_base64 ?? source.activations_bf16_le_base64);
    chunks(values, source.hidden).forEach((chunk, i) => {
      const entries = proofEntries(chunk.length / source.hidden, source.hidden, source.topk);
      const proof = decodeProof(Buffer.from(source.proofs_hex[i]!, 'hex'), entries) as Proof;
      const ours = compareChunk(chunk, proof, scratch, source.topk);
      const theirs = verdict.results[i]!;
      const label = `${verdict.proofs_of} ${verdict.kind} chunk ${i}`;
      assert.equal(ours.exponentMismatches, theirs.exponent_mismatches, label);
      const mean = figure(theirs.mantissa_error_mean);
      assert.ok(ours.mantissaErrorMean === mean || Math.abs(ours.mantissaErrorMean - mean) <= 1e-9, label);
      assertMedian(ours.mantissaErrorMedian, figure(theirs.mantissa_error_median), verdict.path);
    });
  }
});
