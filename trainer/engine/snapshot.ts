// A policy out of the float32 masters: rounded to bf16, named by its root, compared with the one before.
// Invariant: of a policy there are two copies in memory, the one that is given away and the one that the next is compared with.

import { toBf16Bits } from '../../node/model/bf16.ts';
import { policyRootOfBf16 } from '../../node/model/policy-root.ts';
import { emptyBf16Safetensors } from '../../node/model/safetensors.ts';
import type { Parameter } from '../optim/adamw.ts';
import type { PolicySnapshot } from './engine.ts';

/** The policies of one run of training. */
export interface Snapshots {
  /** The policy as it stands; the next is compared with it. */
  take(): PolicySnapshot;
}

/** Number of one-bits of a 16-bit number. */
function ones16(x: number): number {
  let n = x - ((x >>> 1) & 0x5555);
  n = (n & 0x3333) + ((n >>> 2) & 0x3333);
  n = (n + (n >>> 4)) & 0x0f0f;
  return (n + (n >>> 8)) & 0x1f;
}

/** What differs between two tensors of bit patterns. */
function difference(bits: Uint16Array, old: Uint16Array): { readonly values: number; readonly bits: number } {
  let changed = 0;
  let changedBits = 0;
  for (let i = 0; i < bits.length; i++) {
    const xor = bits[i]! ^ old[i]!;
    if (xor === 0) continue;
    changed += 1;
    changedBits += ones16(xor);
  }
  return { values: changed, bits: changedBits };
}

/** @param policy the tensors as they stand, one at a time; what they are now is what the first snapshot is compared with */
export function createSnapshots(policy: () => Iterable<Parameter>): Snapshots {
  const before = new Map<string, { readonly shape: readonly number[]; readonly bits: Uint16Array }>();
  for (const { name, shape, data } of policy()) before.set(name, { shape, bits: toBf16Bits(data) });
  const shapes = new Map([...before].map(([name, { shape }]) => [name, shape]));
  return {
    take() {
      const { bytes, tensors } = emptyBf16Safetensors(shapes);
      let changed = 0;
      let changedBits = 0;
      let count = 0;
      for (const { name, data } of policy()) {
        const [bits, old] = [tensors.get(name)!.bits, before.get(name)!.bits];
        toBf16Bits(data, bits);
        const { values, bits: ones } = difference(bits, old);
        changed += values;
        changedBits += ones;
        count += bits.length;
        old.set(bits);
      }
      return { safetensors: bytes, policyRoot: policyRootOfBf16(tensors), changedBits, changedShare: changed / count };
    },
  };
}
