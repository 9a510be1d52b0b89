// A reference to content-addressed bytes: what they hash to and how many they are.
// Source: spec/wire.md (bodies, recipes, config and tokenizer travel as blobs).

import { create } from '@bufbuild/protobuf';
import { hashField, integerField, toBigInt } from './codec.ts';
import { BlobRefSchema, type BlobRef as WireBlobRef } from './messages_pb.ts';

export interface BlobRef {
  /** SHA-256, 32 bytes */
  readonly hash: Uint8Array;
  readonly sizeBytes: number;
}

/** The wire form. */
export function blobRefToWire(ref: BlobRef): WireBlobRef {
  return create(BlobRefSchema, { hash: ref.hash, sizeBytes: toBigInt('sizeBytes', ref.sizeBytes) });
}

/** Checks a wire form. @throws {SwarmError} MALFORMED when empty, or larger than `maxBytes` */
export function blobRefFromWire(field: string, ref: WireBlobRef, maxBytes: number): BlobRef {
  return {
    hash: hashField(`${field}.hash`, ref.hash),
    sizeBytes: integerField(`${field}.sizeBytes`, ref.sizeBytes, 0, maxBytes),
  };
}

/** Checks a wire form that may be absent. @throws {SwarmError} MALFORMED */
export function optionalBlobRef(field: string, ref: WireBlobRef | undefined, maxBytes: number): BlobRef | null {
  return ref === undefined ? null : blobRefFromWire(field, ref, maxBytes);
}
