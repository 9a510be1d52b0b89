// policyRoot: the hash that names a policy, whichever way its bytes arrived (spec/shardcast.md, test/vectors/README.md).
// SHA-256 over the tensors in byte order of their names, each as name length u16 ‖ name ‖ 4 u8 ‖ "BF16" ‖ rank u8 ‖
// dimensions u32 ‖ bf16 values little-endian; the other integers big-endian.

import { createHash } from 'node:crypto';
import { toBf16Bits } from './bf16.ts';
import type { Bf16Tensor } from './safetensors.ts';
import { namesInByteOrder, type Weights } from './weights.ts';

const DTYPE = Buffer.from('\x04BF16', 'latin1');

function tensorHead(name: string, shape: readonly number[]): Buffer {
  const nameBytes = Buffer.from(name, 'utf8');
  const head = Buffer.alloc(2 + nameBytes.length + DTYPE.length + 1 + 4 * shape.length);
  let at = head.writeUInt16BE(nameBytes.length);
  at += nameBytes.copy(head, at);
  at += DTYPE.copy(head, at);
  at = head.writeUInt8(shape.length, at);
  for (const dimension of shape) at = head.writeUInt32BE(dimension, at);
  return head;
}

/** The hash of a policy whose tensors come one by one. */
export interface PolicyRootHash {
  /** Begins the next tensor; tensors must come in byte order of their names. */
  begin(name: string, shape: readonly number[]): void;
  /** The tensor's next values: bf16, little-endian. */
  values(bytes: Uint8Array): void;
  /** A tensor at once. */
  add(name: string, shape: readonly number[], bits: Uint16Array): void;
  digest(): Uint8Array;
}

export function createPolicyRootHash(): PolicyRootHash {
  const hash = createHash('sha256');
  return {
    begin: (name, shape) => void hash.update(tensorHead(name, shape)),
    values: (bytes) => void hash.update(bytes),
    add(name, shape, bits) {
      hash.update(tensorHead(name, shape));
      hash.update(new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength));
    },
    digest: () => hash.digest(),
  };
}

/** The 32-byte name of the policy that these weights, rounded to bf16, are. */
export function policyRoot(weights: Weights): Uint8Array {
  const hash = createPolicyRootHash();
  for (const name of namesInByteOrder(weights.keys())) {
    const { shape, data } = weights.get(name)!;
    hash.add(name, shape, toBf16Bits(data));
  }
  return hash.digest();
}

/** The same of bit patterns. */
export function policyRootOfBf16(tensors: ReadonlyMap<string, Bf16Tensor>): Uint8Array {
  const hash = createPolicyRootHash();
  for (const name of namesInByteOrder(tensors.keys())) {
    const { shape, bits } = tensors.get(name)!;
    hash.add(name, shape, bits);
  }
  return hash.digest();
}
