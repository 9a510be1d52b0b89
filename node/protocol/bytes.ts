// Byte strings: hex, joining, big-endian integers, SHA-256, UTF-8.
// Source: spec/rollouts.md ("‖" is concatenation, integers are big-endian, H is SHA-256).
// Invariant: everything here is a pure function that never keeps or changes its arguments.

import { createHash } from 'node:crypto';
import { SwarmError } from './errors.ts';

const LOWER_HEX = /^(?:[0-9a-f]{2})*$/;

/** Lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/**
 * Bytes of lower-case hex, nothing else: ids are map keys, so they have one spelling.
 * @param byteLength when given, the length that is due
 * @throws {SwarmError} MALFORMED
 */
export function fromHex(hex: string, byteLength?: number): Uint8Array {
  if (!LOWER_HEX.test(hex)) {
    throw new SwarmError('MALFORMED', 'expected lower-case hex of whole bytes', { length: hex.length });
  }
  if (byteLength !== undefined && hex.length !== byteLength * 2) {
    throw new SwarmError('MALFORMED', `expected ${byteLength * 2} hex digits, got ${hex.length}`, {
      length: hex.length,
    });
  }
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

/** The parts one after another, in a new array. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** The same bytes as a plain Uint8Array: a Buffer's `slice` does not copy, and it is never deeply equal to one. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes;
}

/** Whether both hold the same bytes. Not in constant time: for public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** SHA-256 of the parts one after another; texts count as their UTF-8. @returns 32 bytes */
export function sha256(...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** 4 bytes, big-endian. @throws {SwarmError} MALFORMED */
export function u32be(value: number, label = 'value'): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new SwarmError('MALFORMED', `${label} must be an integer in [0, ${0xffffffff}], got ${value}`, { label });
  }
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** UTF-8 of a text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Text of UTF-8 bytes. @throws {SwarmError} MALFORMED when they are none */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SwarmError('MALFORMED', 'expected UTF-8 text', { length: bytes.length }, { cause });
  }
}
