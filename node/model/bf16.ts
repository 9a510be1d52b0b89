// bfloat16 <-> float32: the upper half of a float32, rounded to nearest, ties to even.
// A published policy *is* its bf16 weights (spec/shardcast.md), so rounding is a step of its own, done before publishing.

import type { Weights } from './weights.ts';

/** Quiet NaN: rounding a NaN's bits could carry into infinity, so every NaN becomes this one. */
const BF16_NAN = 0x7fc0;

/**
 * Bit patterns of `values` rounded to bf16 (nearest, ties to even).
 * @param into written from `offset` on when given, else a new array
 */
export function toBf16Bits(values: Float32Array, into?: Uint16Array, offset: number = 0): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = into ?? new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    out[offset + i] = (b & 0x7fffffff) > 0x7f800000 ? BF16_NAN : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** The float32 values that bf16 bit patterns stand for, exactly. */
export function fromBf16Bits(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}

/** Rounds every value to bf16 where it stands: for arrays that nobody else holds. */
export function roundToBf16InPlace(weights: Weights): void {
  for (const { data } of weights.values()) {
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    for (let i = 0; i < bits.length; i++) {
      const b = bits[i]!;
      bits[i] = (b & 0x7fffffff) > 0x7f800000 ? BF16_NAN << 16 : (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000;
    }
  }
}
