// What is asked and answered on streams: ranges of blobs, pages of the past, which blobs a peer holds.
// Source: spec/wire.md "Streams". The length prefix around each message is the network's; these are the messages.

import {
  checkSize,
  decodeMessage,
  encodeMessage,
  hashField,
  integerField,
  listLength,
  malformed,
  oneOf,
  optionalHash,
  toBigInt,
} from './codec.ts';
import {
  ANNOUNCEMENT_MAX_BYTES,
  CURSOR_MAX_BYTES,
  HAVE_MAX_HASHES,
  MAX_WEIGHTS_BYTES,
  RANGE_MAX_BYTES,
  STREAM_ANSWER_MAX_BYTES,
  STREAM_REQUEST_MAX_BYTES,
  SYNC_PAGE_MAX_BYTES,
} from './limits.ts';
import {
  BlobAnswerSchema,
  BlobRequestSchema,
  HaveAnswerSchema,
  HaveRequestSchema,
  SyncAnswerSchema,
  SyncRequestSchema,
} from './messages_pb.ts';

export type AnswerStatus = 'ok' | 'missing' | 'busy' | 'refused';
const STATUSES = ['ok', 'missing', 'busy', 'refused'] as const satisfies readonly AnswerStatus[];
/** An empty envelope of a page would cost 2 bytes; a real one has a key, a signature and a network id. */
const MAX_PAGE_FIELDS = SYNC_PAGE_MAX_BYTES / 128;

export interface BlobRequest {
  readonly hash: Uint8Array;
  readonly offset: number;
  /** 1 … 1 MiB */
  readonly length: number;
}

export interface BlobAnswer {
  readonly status: AnswerStatus;
  /** of the whole blob */
  readonly sizeBytes: number;
  /** the range, cut at the blob's end; empty unless ok */
  readonly data: Uint8Array;
}

export interface SyncRequest {
  /** null: recipes and offers */
  readonly recipeId: Uint8Array | null;
  /** empty: from the start; otherwise the `nextCursor` of the page before */
  readonly cursor: Uint8Array;
}

export interface SyncAnswer {
  readonly status: AnswerStatus;
  /** sealed envelopes, each to be opened as if gossiped */
  readonly envelopes: readonly Uint8Array[];
  /** empty: that was all */
  readonly nextCursor: Uint8Array;
}

export interface HaveRequest {
  readonly hashes: readonly Uint8Array[];
}

export interface HaveAnswer {
  readonly status: AnswerStatus;
  /** bit i (least significant first) of byte i / 8: holds hashes[i] whole; see unpackBits */
  readonly bits: Uint8Array;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE (as every function below) */
export function encodeBlobRequest(request: BlobRequest): Uint8Array {
  const message = { ...request, offset: toBigInt('offset', request.offset) };
  return encodeMessage(BlobRequestSchema, 'blob request', message, decodeBlobRequest);
}

export function decodeBlobRequest(bytes: Uint8Array): BlobRequest {
  const wire = decodeMessage(BlobRequestSchema, 'blob request', bytes, STREAM_REQUEST_MAX_BYTES);
  return {
    hash: hashField('hash', wire.hash),
    offset: integerField('offset', wire.offset, 0, MAX_WEIGHTS_BYTES),
    length: integerField('length', wire.length, 1, RANGE_MAX_BYTES),
  };
}

export function encodeBlobAnswer(answer: BlobAnswer): Uint8Array {
  const message = { ...answer, sizeBytes: toBigInt('sizeBytes', answer.sizeBytes) };
  return encodeMessage(BlobAnswerSchema, 'blob answer', message, decodeBlobAnswer);
}

export function decodeBlobAnswer(bytes: Uint8Array): BlobAnswer {
  const wire = decodeMessage(BlobAnswerSchema, 'blob answer', bytes, STREAM_ANSWER_MAX_BYTES);
  checkSize('range', wire.data, RANGE_MAX_BYTES);
  return {
    status: oneOf('status', wire.status, STATUSES),
    sizeBytes: integerField('sizeBytes', wire.sizeBytes, 0, MAX_WEIGHTS_BYTES),
    data: wire.data,
  };
}

export function encodeSyncRequest(request: SyncRequest): Uint8Array {
  const message = { recipeId: request.recipeId ?? new Uint8Array(0), cursor: request.cursor };
  return encodeMessage(SyncRequestSchema, 'sync request', message, decodeSyncRequest);
}

export function decodeSyncRequest(bytes: Uint8Array): SyncRequest {
  const wire = decodeMessage(SyncRequestSchema, 'sync request', bytes, STREAM_REQUEST_MAX_BYTES);
  checkSize('cursor', wire.cursor, CURSOR_MAX_BYTES);
  return { recipeId: optionalHash('recipeId', wire.recipeId), cursor: wire.cursor };
}

export function encodeSyncAnswer(answer: SyncAnswer): Uint8Array {
  const message = { ...answer, envelopes: [...answer.envelopes] };
  return encodeMessage(SyncAnswerSchema, 'sync answer', message, decodeSyncAnswer);
}

export function decodeSyncAnswer(bytes: Uint8Array): SyncAnswer {
  const wire = decodeMessage(SyncAnswerSchema, 'sync answer', bytes, SYNC_PAGE_MAX_BYTES, MAX_PAGE_FIELDS);
  checkSize('cursor', wire.nextCursor, CURSOR_MAX_BYTES);
  for (const envelope of wire.envelopes) checkSize('envelope', envelope, ANNOUNCEMENT_MAX_BYTES);
  return {
    status: oneOf('status', wire.status, STATUSES),
    envelopes: wire.envelopes,
    nextCursor: wire.nextCursor,
  };
}

export function encodeHaveRequest(request: HaveRequest): Uint8Array {
  return encodeMessage(HaveRequestSchema, 'have request', { hashes: [...request.hashes] }, decodeHaveRequest);
}

export function decodeHaveRequest(bytes: Uint8Array): HaveRequest {
  const wire = decodeMessage(HaveRequestSchema, 'have request', bytes, STREAM_REQUEST_MAX_BYTES, HAVE_MAX_HASHES);
  listLength('hashes', wire.hashes, 1, HAVE_MAX_HASHES);
  return { hashes: wire.hashes.map((hash) => hashField('hashes', hash)) };
}

export function encodeHaveAnswer(answer: HaveAnswer): Uint8Array {
  return encodeMessage(HaveAnswerSchema, 'have answer', answer, decodeHaveAnswer);
}

export function decodeHaveAnswer(bytes: Uint8Array): HaveAnswer {
  const wire = decodeMessage(HaveAnswerSchema, 'have answer', bytes, STREAM_ANSWER_MAX_BYTES);
  listLength('bits', wire.bits, 0, HAVE_MAX_HASHES / 8);
  return { status: oneOf('status', wire.status, STATUSES), bits: wire.bits };
}

/** Flags as bits, least significant first. @returns ceil(n / 8) bytes */
export function packBits(flags: readonly boolean[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(flags.length / 8));
  for (const [i, flag] of flags.entries()) if (flag) bits[i >> 3]! |= 1 << (i & 7);
  return bits;
}

/**
 * The `count` flags of packBits.
 * @throws {SwarmError} MALFORMED when the number of bytes is another
 */
export function unpackBits(bits: Uint8Array, count: number): readonly boolean[] {
  if (bits.length !== Math.ceil(count / 8)) throw malformed('bits', `${Math.ceil(count / 8)} bytes`, bits.length);
  return Array.from({ length: count }, (_, i) => ((bits[i >> 3]! >> (i & 7)) & 1) === 1);
}
