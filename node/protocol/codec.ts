// What every message codec shares: size before decoding, one kind of error, and the checks of single fields.
// Invariant: decoding throws nothing but SwarmError MALFORMED or TOO_LARGE, and holds at most a small multiple of the
// message's size: fields are counted before protobuf makes an object of each.

import type { DescField, DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, ScalarType, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { plainBytes } from './bytes.ts';
import { SwarmError } from './errors.ts';
import { isPeerId } from './keys.ts';
import { MESSAGE_MAX_FIELDS } from './limits.ts';

export const HASH_BYTES: number = 32;

/** @throws {SwarmError} TOO_LARGE */
export function checkSize(label: string, bytes: Uint8Array, maxBytes: number): void {
  if (bytes.length > maxBytes) {
    throw new SwarmError('TOO_LARGE', `a ${label} has at most ${maxBytes} bytes, got ${bytes.length}`, {
      label,
      bytes: bytes.length,
      maxBytes,
    });
  }
}

/** The error of a field that is not what it must be. */
export function malformed(field: string, expected: string, got?: string | number): SwarmError {
  const found = got === undefined ? '' : `, got ${got}`;
  return new SwarmError('MALFORMED', `${field}: expected ${expected}${found}`, { field });
}

/** Runs a parser; whatever it throws that is not ours becomes MALFORMED. */
export function parsing<T>(label: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof SwarmError) throw cause;
    throw new SwarmError('MALFORMED', `this is no ${label}`, { label }, { cause });
  }
}

/**
 * Counts the fields of an encoded message, and of the messages in it, before anything is made of them: decoding makes an object
 * of each entry and of each unknown field, some 300 bytes for two (measured). Groups, which proto3 does not have, are refused.
 * @throws {SwarmError} TOO_LARGE with more than `maxFields`; MALFORMED
 */
function boundFields(schema: DescMessage, label: string, bytes: Uint8Array, maxFields: number): void {
  let left = maxFields;
  const walk = (message: DescMessage, part: Uint8Array): void => {
    const reader = new BinaryReader(part);
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      if (--left < 0) throw new SwarmError('TOO_LARGE', `a ${label} has at most ${maxFields} fields`, { maxFields });
      if (wireType === WireType.StartGroup) throw malformed(label, 'no groups');
      const known = message.fields.find((field) => field.number === number);
      if (known !== undefined && !mayHave(known, wireType)) throw malformed(label, `another type in field ${number}`);
      if (wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, number);
        continue;
      }
      const content = reader.bytes();
      if (known?.message !== undefined) walk(known.message, content);
    }
  };
  parsing(label, () => walk(schema, bytes));
}

/** Whether a field may come as this wire type. protobuf-es reads a scalar by its schema alone, and would read on elsewhere than we. */
function mayHave(field: DescField, wireType: WireType): boolean {
  if (wireType === WireType.LengthDelimited && field.fieldKind === 'list') return true;
  return wireType === (field.scalar === undefined ? WireType.LengthDelimited : wireTypeOf(field.scalar));
}

function wireTypeOf(scalar: ScalarType): WireType {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
      return WireType.Bit64;
    case ScalarType.FLOAT:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

/**
 * Decodes with protobuf under limits of size and of fields; unknown fields are skipped, not kept.
 * @param maxFields counted at all levels
 * @throws {SwarmError} TOO_LARGE, MALFORMED
 */
export function decodeMessage<Desc extends DescMessage>(
  schema: Desc,
  label: string,
  bytes: Uint8Array,
  maxBytes: number,
  maxFields: number = MESSAGE_MAX_FIELDS,
): MessageShape<Desc> {
  checkSize(label, bytes, maxBytes);
  const plain = plainBytes(bytes);
  boundFields(schema, label, plain, maxFields);
  return parsing(label, () => fromBinary(schema, plain, { readUnknownFields: false }));
}

/**
 * Encodes with protobuf, and decodes the outcome again: what we send is what others accept.
 * @param decode the decoder of these messages
 * @throws {SwarmError} TOO_LARGE, MALFORMED
 */
export function encodeMessage<Desc extends DescMessage>(
  schema: Desc,
  label: string,
  message: MessageInitShape<Desc>,
  decode: (bytes: Uint8Array) => unknown,
): Uint8Array {
  const bytes = parsing(label, () => toBinary(schema, create(schema, message)));
  decode(bytes);
  return bytes;
}

/** A copy of a hash (so that it does not hold the whole message in memory). @throws {SwarmError} MALFORMED */
export function hashField(field: string, bytes: Uint8Array): Uint8Array {
  return exactBytes(field, bytes, HASH_BYTES);
}

/** A copy of a byte string of known length. @throws {SwarmError} MALFORMED */
export function exactBytes(field: string, bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw malformed(field, `${length} bytes`, bytes.length);
  return bytes.slice();
}

/** A hash, or null when the field is empty. @throws {SwarmError} MALFORMED */
export function optionalHash(field: string, bytes: Uint8Array): Uint8Array | null {
  return bytes.length === 0 ? null : hashField(field, bytes);
}

/** A copy of an Ed25519 peer id's multihash. @throws {SwarmError} MALFORMED */
export function peerIdField(field: string, bytes: Uint8Array): Uint8Array {
  if (!isPeerId(bytes)) throw malformed(field, 'the peer id of an Ed25519 key');
  return bytes.slice();
}

/** A u64 or s64 as a number. @throws {SwarmError} MALFORMED outside [min, max] */
export function integerField(field: string, value: bigint | number, min: number, max: number): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < min || number > max) {
    throw malformed(field, `an integer in [${min}, ${max}]`, String(value));
  }
  return number;
}

/** A number for a u64 or s64 field. @throws {SwarmError} MALFORMED when it is no safe integer */
export function toBigInt(field: string, value: number): bigint {
  if (!Number.isSafeInteger(value)) throw malformed(field, 'an integer', value);
  return BigInt(value);
}

/** How many entries a list may have. @throws {SwarmError} MALFORMED */
export function listLength(field: string, list: { readonly length: number }, min: number, max: number): void {
  if (list.length < min || list.length > max) throw malformed(field, `${min} … ${max} entries`, list.length);
}

/** One of a closed set of texts. @throws {SwarmError} MALFORMED */
export function oneOf<const T extends string>(field: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw malformed(field, allowed.join(' | '), JSON.stringify(value.slice(0, 32)));
  return found;
}

/** A field that must be there. @throws {SwarmError} MALFORMED */
export function required<T>(field: string, value: T | undefined): T {
  if (value === undefined) throw malformed(field, 'a value');
  return value;
}
