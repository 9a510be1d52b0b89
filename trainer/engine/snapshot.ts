// A policy out of the float32 masters: rounded to bf16, named by its root, compared with the one before.

import { toBf16Bits } from '../../node/model/bf16.ts';
import { policyRootOfBf16 } from '../../node/model/policy-root.ts';
import { type Bf16Tensor, bf16SafetensorsOf } from '../../node/model/safetensors.ts';
import type { Parameter } from '../optim/adamw.ts';
import type { PolicySnapshot } from './engine.ts';

export type Bf16Policy = ReadonlyMap<string, Bf16Tensor>;

export function roundParameters(parameters: Iterable<Parameter>): Bf16Policy {
  return new Map(Array.from(parameters, ({ name, shape, data }) => [name, { shape, bits: toBf16Bits(data) }]));
}

/** Number of one-bits of a 16-bit number. */
function ones16(x: number): number {
  let n = x - ((x >>> 1) & 0x5555);
  n = (n & 0x3333) + ((n >>> 2) & 0x3333);
  n = (n + (n >>> 4)) & 0x0f0f;
  return (n + (n >>> 8)) & 0x1f;
}

/** Bytes and root of `policy`, and how far it is from `before`. */
export function snapshotOf(policy: Bf16Policy, before: Bf16Policy): PolicySnapshot {
  let changedBits = 0;
  let changed = 0;
  let count = 0;
  for (const [name, { bits }] of policy) {
    const old = before.get(name)!.bits;
    count += bits.length;
    for (let i = 0; i < bits.length; i++) {
      const difference = bits[i]! ^ old[i]!;
      if (difference === 0) continue;
      changed += 1;
      changedBits += ones16(difference);
    }
  }
  return {
    safetensors: bf16SafetensorsOf(policy),
    policyRoot: policyRootOfBf16(policy),
    changedBits,
    changedShare: changed / count,
  };
}
