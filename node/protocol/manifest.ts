// A policy's publication: root, parent, shards, admission, training record. Signed by a trainer that the recipe names.
// Source: spec/shardcast.md "What is published"; admission: spec/wire.md "Enough, not too much".

import { type BlobRef, blobRefToWire, optionalBlobRef } from './blob-ref.ts';
import {
  decodeMessage,
  encodeMessage,
  hashField,
  integerField,
  listLength,
  malformed,
  optionalHash,
  required,
  toBigInt,
} from './codec.ts';
import {
  CONFIG_MAX_BYTES,
  MAX_SHARD_BYTES,
  MAX_SHARDS,
  MAX_TIME_MS,
  MAX_WEIGHTS_BYTES,
  PAYLOAD_MAX_BYTES,
  RECORD_LIST_MAX_BYTES,
  TOKENIZER_MAX_BYTES,
} from './limits.ts';
import { ManifestSchema, type FullEncoding as WireFull, type TrainingRecord as WireRecord } from './messages_pb.ts';

/** Weights as a safetensors file cut into shards of `shardBytes` each (the last one may be shorter). */
export interface FullEncoding {
  readonly sizeBytes: number;
  readonly shardBytes: number;
  readonly shardHashes: readonly Uint8Array[];
}

/** How much work the trainer wants for this step, and from how many. */
export interface Admission {
  readonly wantGroups: number;
  readonly activePeers: number;
}

/** Groups that each peer may bring. Source: spec/wire.md "Enough, not too much". */
export function shareOf({ wantGroups, activePeers }: Admission): number {
  return Math.ceil(wantGroups / Math.max(1, activePeers));
}

/** What the step was made of, so that it can be audited. */
export interface TrainingRecord {
  /** groupIds[32] concatenated, in order; null when none was consumed */
  readonly consumed: BlobRef | null;
  /** null when no state is kept (step 0) */
  readonly optimizerStateHash: Uint8Array | null;
  /** accepted but not consumed: JSON [{groupId, reason}] */
  readonly notConsumed: BlobRef | null;
}

export interface Manifest {
  readonly recipeId: Uint8Array;
  readonly policyStep: number;
  readonly policyRoot: Uint8Array;
  /** null exactly at step 0 */
  readonly parentRoot: Uint8Array | null;
  /** milliseconds since 1970, by the trainer's clock */
  readonly timeMs: number;
  readonly full: FullEncoding;
  readonly admission: Admission;
  readonly record: TrainingRecord | null;
  /** whether this is the recipe's last manifest */
  readonly closing: boolean;
  readonly config: BlobRef | null;
  readonly tokenizer: BlobRef | null;
  readonly tokenizerConfig: BlobRef | null;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const { full, record } = manifest;
  return encodeMessage(
    ManifestSchema,
    'manifest',
    {
      recipeId: manifest.recipeId,
      policyStep: manifest.policyStep,
      policyRoot: manifest.policyRoot,
      parentRoot: manifest.parentRoot ?? new Uint8Array(0),
      timeMs: toBigInt('timeMs', manifest.timeMs),
      full: {
        sizeBytes: toBigInt('full.sizeBytes', full.sizeBytes),
        shardBytes: full.shardBytes,
        shardHashes: [...full.shardHashes],
      },
      admission: { ...manifest.admission },
      closing: manifest.closing,
      ...(record === null ? {} : { record: recordToWire(record) }),
      ...blob('config', manifest.config),
      ...blob('tokenizer', manifest.tokenizer),
      ...blob('tokenizerConfig', manifest.tokenizerConfig),
    },
    decodeManifest,
  );
}

function blob<K extends string>(name: K, ref: BlobRef | null): Partial<Record<K, ReturnType<typeof blobRefToWire>>> {
  return ref === null ? {} : ({ [name]: blobRefToWire(ref) } as Record<K, ReturnType<typeof blobRefToWire>>);
}

function recordToWire(record: TrainingRecord): {
  optimizerStateHash: Uint8Array;
  consumed?: ReturnType<typeof blobRefToWire>;
  notConsumed?: ReturnType<typeof blobRefToWire>;
} {
  return {
    optimizerStateHash: record.optimizerStateHash ?? new Uint8Array(0),
    ...blob('consumed', record.consumed),
    ...blob('notConsumed', record.notConsumed),
  };
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeManifest(bytes: Uint8Array): Manifest {
  const wire = decodeMessage(ManifestSchema, 'manifest', bytes, PAYLOAD_MAX_BYTES);
  const parentRoot = optionalHash('parentRoot', wire.parentRoot);
  if ((parentRoot === null) !== (wire.policyStep === 0)) throw malformed('parentRoot', 'none exactly at step 0');
  const { wantGroups, activePeers } = required('admission', wire.admission);
  return {
    recipeId: hashField('recipeId', wire.recipeId),
    policyStep: wire.policyStep,
    policyRoot: hashField('policyRoot', wire.policyRoot),
    parentRoot,
    timeMs: integerField('timeMs', wire.timeMs, 0, MAX_TIME_MS),
    full: fullFromWire(required('full', wire.full)),
    admission: { wantGroups, activePeers },
    record: wire.record === undefined ? null : recordFromWire(wire.record),
    closing: wire.closing,
    config: optionalBlobRef('config', wire.config, CONFIG_MAX_BYTES),
    tokenizer: optionalBlobRef('tokenizer', wire.tokenizer, TOKENIZER_MAX_BYTES),
    tokenizerConfig: optionalBlobRef('tokenizerConfig', wire.tokenizerConfig, TOKENIZER_MAX_BYTES),
  };
}

function fullFromWire(wire: WireFull): FullEncoding {
  const sizeBytes = integerField('full.sizeBytes', wire.sizeBytes, 1, MAX_WEIGHTS_BYTES);
  const shardBytes = integerField('full.shardBytes', wire.shardBytes, 1, MAX_SHARD_BYTES);
  const shards = Math.ceil(sizeBytes / shardBytes);
  if (shards > MAX_SHARDS) throw malformed('full.shardBytes', `at most ${MAX_SHARDS} shards`, shards);
  listLength('full.shardHashes', wire.shardHashes, shards, shards);
  const shardHashes = wire.shardHashes.map((hash) => hashField('full.shardHashes', hash));
  return { sizeBytes, shardBytes, shardHashes };
}

function recordFromWire(wire: WireRecord): TrainingRecord {
  return {
    consumed: optionalBlobRef('record.consumed', wire.consumed, RECORD_LIST_MAX_BYTES),
    optimizerStateHash: optionalHash('record.optimizerStateHash', wire.optimizerStateHash),
    notConsumed: optionalBlobRef('record.notConsumed', wire.notConsumed, RECORD_LIST_MAX_BYTES),
  };
}
