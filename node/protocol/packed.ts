// Packed lists of numbers, protobuf's way, between bytes and typed arrays. Source: protobuf encoding, "Packed repeated
// fields". By hand because bodies are large and coded on the thread that keeps the network: protobuf-es, which goes
// through arrays of numbers, takes 6 times as long to encode and twice as long to decode (65 k tokens, measured).
// Invariant: reading counts before it allocates.

import { malformed } from './codec.ts';

/** Bytes of a u32 as a varint. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

/** Of a u32. */
export const MAX_VARINT_BYTES = 5;

/** Bytes of all values as varints. */
export function varintsBytes(values: Uint32Array): number {
  let bytes = 0;
  for (let i = 0; i < values.length; i++) bytes += varintBytes(values[i]!);
  return bytes;
}

/** Writes a u32 as a varint. @returns the offset behind it */
export function writeVarint(out: Uint8Array, offset: number, value: number): number {
  let rest = value;
  let at = offset;
  while (rest >= 0x80) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}

/**
 * The u32 of each varint.
 * @throws {SwarmError} MALFORMED for more than `max`, for a varint that is cut off or no u32
 */
export function readVarints(field: string, packed: Uint8Array, max: number): Uint32Array<ArrayBuffer> {
  let count = 0;
  for (let i = 0; i < packed.length; i++) if (packed[i]! < 0x80) count++;
  if (count > max) throw malformed(field, `at most ${max} entries`, count);
  const out = new Uint32Array(count);
  let at = 0;
  for (let i = 0; i < count; i++) {
    let value = 0;
    let shift = 0;
    let byte = packed[at++]!;
    while (byte >= 0x80) {
      value |= (byte & 0x7f) << shift;
      shift += 7;
      byte = packed[at++]!;
      if (shift > 28 || (shift === 28 && byte > 0x0f)) throw malformed(field, 'unsigned 32-bit integers');
    }
    out[i] = value | (byte << shift);
  }
  if (at !== packed.length) throw malformed(field, 'whole varints');
  return out;
}

/** Writes floats, little-endian. @returns the offset behind them */
export function writeFloats(out: Uint8Array, offset: number, values: Float32Array): number {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  for (let i = 0; i < values.length; i++) view.setFloat32(offset + i * 4, values[i]!, true);
  return offset + values.length * 4;
}

/** @throws {SwarmError} MALFORMED for more than `max` floats, or a part of one */
export function readFloats(field: string, packed: Uint8Array, max: number): Float32Array<ArrayBuffer> {
  if (packed.length % 4 !== 0) throw malformed(field, 'whole floats', packed.length);
  const count = packed.length / 4;
  if (count > max) throw malformed(field, `at most ${max} entries`, count);
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = view.getFloat32(i * 4, true);
  return out;
}
