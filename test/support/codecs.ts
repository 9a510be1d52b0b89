// Every message codec beside random values of what it carries: for round trips, and for what fuzzing starts from.

import fc from 'fast-check';
import { decodeBody, encodeBody } from '../../node/protocol/body.ts';
import { sha256 } from '../../node/protocol/bytes.ts';
import { decodeContinuation, encodeContinuation } from '../../node/protocol/continuation.ts';
import { decodeGroup, encodeGroup } from '../../node/protocol/group.ts';
import {
  BODY_MAX_BYTES,
  CURSOR_MAX_BYTES,
  PAYLOAD_MAX_BYTES,
  STREAM_ANSWER_MAX_BYTES,
  STREAM_REQUEST_MAX_BYTES,
  SYNC_PAGE_MAX_BYTES,
} from '../../node/protocol/limits.ts';
import { decodeManifest, encodeManifest } from '../../node/protocol/manifest.ts';
import { decodeOffer, encodeOffer } from '../../node/protocol/offer.ts';
import { decodePeerList, encodePeerList, PEERS_ANSWER_MAX_BYTES } from '../../node/protocol/peer-list.ts';
import { decodeRecipeAnnouncement, encodeRecipeAnnouncement } from '../../node/protocol/recipe-announcement.ts';
import { decodeSecret, encodeSecret } from '../../node/protocol/secret.ts';
import * as streams from '../../node/protocol/streams.ts';
import { decodeVerdict, encodeVerdict } from '../../node/protocol/verdict.ts';
import { body, group, hash32, manifest, offer, peerId, record, timeMs, u32, verdict } from './arbitrary-messages.ts';

const bytes = fc.uint8Array({ maxLength: 300 });
const status = fc.constantFrom('ok' as const, 'missing' as const, 'busy' as const, 'refused' as const);
const secret = record({ recipeId: hash32, policyStep: u32, shown: fc.boolean(), secret: hash32 }).map(
  ({ shown, secret, ...rest }) => ({ ...rest, secretHash: sha256(secret), secret: shown ? secret : null }),
);
const continuation = record({
  recipeId: hash32,
  policyStep: u32,
  policyRoot: hash32,
  trainerKey: fc.constant(sha256('goes on')),
  revokedKeys: fc.array(hash32, { maxLength: 4 }),
  timeMs,
});
const listedPeer = record({ peerId, addresses: fc.array(fc.string({ maxLength: 40 }), { maxLength: 8 }) });

/** A codec, free of its type of message. */
export interface MessageCodec {
  readonly name: string;
  /** the most bytes that it takes */
  readonly maxBytes: number;
  readonly arbitrary: fc.Arbitrary<unknown>;
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

function codec<T>(
  name: string,
  maxBytes: number,
  arbitrary: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => T,
): MessageCodec {
  return { name, maxBytes, arbitrary, encode: (value) => encode(value as T), decode };
}

export const MESSAGE_CODECS: readonly MessageCodec[] = [
  codec('group', PAYLOAD_MAX_BYTES, group, encodeGroup, decodeGroup),
  codec('body', BODY_MAX_BYTES, body, encodeBody, decodeBody),
  codec('verdict', PAYLOAD_MAX_BYTES, verdict, encodeVerdict, decodeVerdict),
  codec('manifest', PAYLOAD_MAX_BYTES, manifest, encodeManifest, decodeManifest),
  codec('continuation', PAYLOAD_MAX_BYTES, continuation, encodeContinuation, decodeContinuation),
  codec('offer', PAYLOAD_MAX_BYTES, offer, encodeOffer, decodeOffer),
  codec('secret', PAYLOAD_MAX_BYTES, secret, encodeSecret, decodeSecret),
  codec(
    'recipe announcement',
    PAYLOAD_MAX_BYTES,
    record({ recipe: record({ hash: hash32, sizeBytes: fc.nat(262_144) }), timeMs }),
    encodeRecipeAnnouncement,
    decodeRecipeAnnouncement,
  ),
  codec(
    'peer list',
    PEERS_ANSWER_MAX_BYTES,
    fc.array(listedPeer, { maxLength: 5 }),
    encodePeerList,
    decodePeerList as (bytes: Uint8Array) => ReturnType<typeof decodePeerList>,
  ),
  codec(
    'blob request',
    STREAM_REQUEST_MAX_BYTES,
    record({ hash: hash32, offset: fc.nat(2 ** 30), length: fc.integer({ min: 1, max: 2 ** 20 }) }),
    streams.encodeBlobRequest,
    streams.decodeBlobRequest,
  ),
  codec(
    'blob answer',
    STREAM_ANSWER_MAX_BYTES,
    record({ status, sizeBytes: fc.nat(2 ** 30), data: bytes }),
    streams.encodeBlobAnswer,
    streams.decodeBlobAnswer,
  ),
  codec(
    'sync request',
    CURSOR_MAX_BYTES + 64,
    record({ recipeId: fc.option(hash32, { nil: null }), cursor: bytes }),
    streams.encodeSyncRequest,
    streams.decodeSyncRequest,
  ),
  codec(
    'sync answer',
    SYNC_PAGE_MAX_BYTES,
    record({ status, envelopes: fc.array(bytes, { maxLength: 5 }), nextCursor: bytes }),
    streams.encodeSyncAnswer,
    streams.decodeSyncAnswer,
  ),
  codec(
    'have request',
    STREAM_REQUEST_MAX_BYTES,
    record({ hashes: fc.array(hash32, { minLength: 1, maxLength: 20 }) }),
    streams.encodeHaveRequest,
    streams.decodeHaveRequest,
  ),
  codec(
    'have answer',
    STREAM_ANSWER_MAX_BYTES,
    record({ status, bits: bytes }),
    streams.encodeHaveAnswer,
    streams.decodeHaveAnswer,
  ),
];
