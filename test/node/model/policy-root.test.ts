// policyRoot and bf16 rounding against test/vectors/rollouts.json.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBf16Bits, roundToBf16InPlace, toBf16Bits } from '../../../node/model/bf16.ts';
import { createPolicyRootHash, policyRoot, policyRootOfBf16 } from '../../../node/model/policy-root.ts';
import { safetensorsInMemory, writeSafetensors } from '../../../node/model/safetensors.ts';
import { readVector } from '../../support/vectors-dir.ts';

interface RootVector {
  readonly tensors_f32: Record<string, { shape: number[]; values: number[]; bf16_bits: number[] }>;
  readonly policy_root: string;
}
const { policy_roots, bf16_rounding } = readVector<{
  policy_roots: RootVector[];
  bf16_rounding: { f32: number; bf16_bits: number }[];
}>('rollouts.json');

test('bf16 rounds to nearest, ties to even', () => {
  for (const { f32, bf16_bits } of bf16_rounding) {
    assert.equal(toBf16Bits(Float32Array.of(f32))[0], bf16_bits, String(f32));
    const data = Float32Array.of(f32);
    roundToBf16InPlace(new Map([['w', { shape: [1], data }]]));
    assert.deepEqual(data, fromBf16Bits(Uint16Array.of(bf16_bits)));
  }
  assert.equal(Number.isNaN(fromBf16Bits(toBf16Bits(Float32Array.of(Number.NaN)))[0]!), true);
});

test('policyRoot equals the vectors, from float32 and from a bf16 file alike', async () => {
  for (const vector of policy_roots) {
    const weights = new Map(
      Object.entries(vector.tensors_f32).map(([name, { shape, values }]) => [
        name,
        { shape, data: Float32Array.from(values) },
      ]),
    );
    for (const [name, { data }] of weights) {
      assert.deepEqual([...toBf16Bits(data)], vector.tensors_f32[name]!.bf16_bits);
    }
    assert.equal(Buffer.from(policyRoot(weights)).toString('hex'), vector.policy_root);
    const rounded = structuredClone(weights);
    roundToBf16InPlace(rounded);
    assert.equal(Buffer.from(policyRoot(rounded)).toString('hex'), vector.policy_root);
    const bits = new Map([...weights].map(([name, { shape, data }]) => [name, { shape, bits: toBf16Bits(data) }]));
    assert.equal(Buffer.from(policyRootOfBf16(bits)).toString('hex'), vector.policy_root);
    // A file holds its tensors in byte order of their names, whatever their order was.
    const file = await safetensorsInMemory(writeSafetensors(weights, 'BF16'));
    const root = createPolicyRootHash();
    for (const entry of file.entries) {
      root.begin(entry.name, entry.shape);
      const [first, rest] = [new Uint8Array(2), new Uint8Array(entry.byteLength - 2)];
      await file.bytes(entry, 0, first);
      await file.bytes(entry, 2, rest);
      root.values(first);
      root.values(rest);
    }
    assert.equal(Buffer.from(root.digest()).toString('hex'), vector.policy_root);
  }
});

test('one bit of one weight changes the root', () => {
  const root = (value: number): string =>
    Buffer.from(policyRoot(new Map([['w', { shape: [2], data: Float32Array.of(1, value) }]]))).toString('hex');
  assert.notEqual(root(1), root(1.0078125));
});
