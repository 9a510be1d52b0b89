// Rules of TOPLOC that the reference library leaves open or gets wrong: ties, NaN, malformed and miscounted proofs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareCompletion, decodeProofs, proveCompletion } from '../../../verifier/toploc/completion.ts';
import { mulMod, PRIME } from '../../../verifier/toploc/field.ts';
import { evaluate, interpolate } from '../../../verifier/toploc/polynomial.ts';
import { chunkRows, decodeProof, encodeProof, type Proof, proofCount } from '../../../verifier/toploc/proof.ts';
import { createTopValuesScratch, topValues } from '../../../verifier/toploc/top-values.ts';

const scratch = createTopValuesScratch();

/** Deterministic bf16 patterns without NaN or infinity. */
function states(count: number, seed = 1): Uint16Array {
  let state = seed;
  return Uint16Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 16) & 0x8000) | (0x3000 + ((state >>> 8) % 0x1200));
  });
}

test('mulMod is multiplication modulo 65497', () => {
  const element = fc.integer({ min: 0, max: PRIME - 1 });
  fc.assert(fc.property(element, element, (a, b) => mulMod(a, b) === Number((BigInt(a) * BigInt(b)) % BigInt(PRIME))));
  assert.equal(mulMod(PRIME - 1, PRIME - 1), 1);
});

test('an interpolated polynomial gives back its points, for any count', () => {
  const point = fc.tuple(fc.integer({ min: 0, max: PRIME - 1 }), fc.integer({ min: 0, max: PRIME - 1 }));
  fc.assert(
    fc.property(fc.uniqueArray(point, { minLength: 1, maxLength: 40, selector: ([x]) => x }), (points) => {
      const x = Uint16Array.from(points, (p) => p[0]);
      const y = Uint16Array.from(points, (p) => p[1]);
      assert.deepEqual(evaluate(interpolate(x, y), x), y);
    }),
    { numRuns: 50 },
  );
});

test('the polynomial [1, 2, 3, 4] at 42', () => {
  // 1 + 2·42 + 3·42² + 4·42³ = 301 729 = 4·65 497 + 39 741
  assert.equal(evaluate(Uint16Array.of(1, 2, 3, 4), Uint16Array.of(42))[0], 39741);
});

test('top values equal a sort by magnitude, then by index, whatever the ties', () => {
  const value = fc.oneof(fc.constantFrom(0x3f80, 0xbf80, 0x4000, 0, 0x8000), fc.integer({ min: 0, max: 0x7f80 }));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 400 }), fc.integer({ min: 1, max: 20 }), (list, k) => {
      const values = Uint16Array.from(list);
      const magnitude = (i: number): number => values[i]! & 0x7fff;
      const expected = [...values.keys()]
        .sort((a, b) => magnitude(b) - magnitude(a) || a - b)
        .slice(0, k)
        .sort((a, b) => a - b);
      const got = topValues(values, k, scratch);
      assert.deepEqual([...got.indices], expected);
      assert.deepEqual(
        [...got.bits],
        expected.map((i) => values[i]!),
      );
    }),
  );
});

test('a NaN is never proved, of either sign', () => {
  for (const nan of [0x7fc0, 0xffc0, 0xffff, 0x7f81]) {
    const values = states(400);
    values[377] = nan;
    assert.throws(() => proveCompletion(values, 40), { code: 'PROOF_NAN' });
  }
  assert.throws(() => proveCompletion(states(41), 40), { code: 'PROOF_MALFORMED' });
});

test('how many proofs a completion owes', () => {
  assert.deepEqual([0, 1, 2, 33, 34, 65, 66].map(proofCount), [0, 0, 1, 1, 2, 2, 3]);
  assert.deepEqual([chunkRows(34, 0), chunkRows(34, 1), chunkRows(34, 2), chunkRows(1, 0)], [32, 1, 0, 0]);
  assert.equal(proveCompletion(states(33 * 40), 40).length, 258 + 2 + 2 * 40);
  assert.equal(proveCompletion(new Uint16Array(0), 40).length, 0);
});

test('proofs of a completion read back, and are at distance 0 from its own states only', () => {
  const hidden = 40;
  const own = states(44 * hidden);
  const bytes = proveCompletion(own, hidden);
  assert.equal(bytes.length, 2 * 258);
  const proofs = decodeProofs(bytes, 45, hidden) as readonly Proof[];
  assert.equal(proofs.length, 2);
  for (const found of compareCompletion(own, hidden, proofs)) {
    assert.deepEqual(found, { exponentMismatches: 0, mantissaErrorMean: 0, mantissaErrorMedian: 0 });
  }
  for (const found of compareCompletion(states(44 * hidden, 7), hidden, proofs)) {
    assert.ok(found.exponentMismatches > 60, `${found.exponentMismatches}`);
  }
});

test('each malformed proof is refused for its own reason', () => {
  const good = encodeProof({ modulus: PRIME, coefficients: Uint16Array.of(1, 2, PRIME - 1) });
  const altered = (at: number, value: number): Uint8Array => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setUint16(at, value);
    return bytes;
  };
  assert.notEqual(typeof decodeProof(good, 3), 'string');
  assert.equal(decodeProof(good, 4), 'length');
  assert.equal(decodeProof(good.subarray(1), 3), 'length');
  assert.equal(decodeProof(new Uint8Array(0), 3), 'length');
  for (const modulus of [0, 1, 32768, 65498, 65535]) assert.equal(decodeProof(altered(0, modulus), 3), 'modulus');
  assert.notEqual(typeof decodeProof(altered(0, 32769), 3), 'string');
  for (const coefficient of [65497, 65535]) assert.equal(decodeProof(altered(4, coefficient), 3), 'coefficient');
});

test('a proof too many, too few or cut off is refused, and says which', () => {
  const hidden = 40;
  const bytes = proveCompletion(states(44 * hidden), hidden);
  const extra = new Uint8Array([...bytes, ...bytes.subarray(0, 258)]);
  assert.deepEqual(decodeProofs(extra, 45, hidden), { chunk: 2, problem: 'count' });
  assert.deepEqual(decodeProofs(bytes.subarray(0, 258), 45, hidden), { chunk: 1, problem: 'count' });
  assert.deepEqual(decodeProofs(bytes.subarray(0, 300), 45, hidden), { chunk: 1, problem: 'length' });
  assert.deepEqual(decodeProofs(new Uint8Array(0), 45, hidden), { chunk: 0, problem: 'count' });
  assert.deepEqual(decodeProofs(Uint8Array.of(1), 1, hidden), { chunk: 0, problem: 'count' });
  assert.deepEqual(decodeProofs(new Uint8Array(bytes.length), 45, hidden), { chunk: 0, problem: 'modulus' });
});
