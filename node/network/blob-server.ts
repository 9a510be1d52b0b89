// Serves blobs we hold: a range at a time, and which of a list we hold whole.
// Source: spec/wire.md "Streams", /murmuration/blob/1 and /murmuration/have/1.
// Invariant: no answer carries more than 1 MiB, no peer more than its share of bandwidth.

import { toHex } from '../protocol/bytes.ts';
import { RANGE_MAX_BYTES, STREAM_REQUEST_MAX_BYTES } from '../protocol/limits.ts';
import type { BlobStore, Clock, PeerIdString, Startable } from '../protocol/ports.ts';
import {
  decodeBlobRequest,
  decodeHaveRequest,
  encodeBlobAnswer,
  encodeHaveAnswer,
  packBits,
} from '../protocol/streams.ts';
import { BLOB_PROTOCOL, HAVE_PROTOCOL } from '../protocol/topics.ts';
import type { Host } from './host.ts';
import { createRateLimiter, type Rate } from './rate-limit.ts';
import type { Requests } from './streams.ts';

/** Bytes served to one peer: 64 MiB/s, saved up to 256 MiB. */
export const SERVE_RATE: Rate = { perSecond: 64 * 2 ** 20, burst: 256 * 2 ** 20 };
/** A blob request is a hash and two numbers. */
const BLOB_REQUEST_MAX_BYTES = 256;
const NOTHING: Uint8Array = new Uint8Array(0);

export interface BlobServerComponents {
  readonly host: Host;
  readonly requests: Requests;
  readonly blobs: BlobStore;
  readonly clock: Clock;
}

export interface BlobServerInit {
  /** bytes a second to one peer */
  readonly serveRate?: Rate;
}

/** Serves the blobs of a store to every peer, once started and as long as the host runs. */
export function createBlobServer(
  components: BlobServerComponents,
  init: BlobServerInit = {},
): Pick<Startable, 'start'> {
  const { host, requests, blobs } = components;
  const bandwidth = createRateLimiter(components.clock, init.serveRate ?? SERVE_RATE);

  async function answerBlob(bytes: Uint8Array, peer: PeerIdString): Promise<Uint8Array> {
    const { hash, offset, length } = decodeBlobRequest(bytes);
    const hashHex = toHex(hash);
    const sizeBytes = await blobs.sizeBytes(hashHex);
    if (sizeBytes === null) return encodeBlobAnswer({ status: 'missing', sizeBytes: 0, data: NOTHING });
    const due = Math.max(0, Math.min(length, RANGE_MAX_BYTES, sizeBytes - offset));
    if (!bandwidth.take(peer, due)) return encodeBlobAnswer({ status: 'busy', sizeBytes, data: NOTHING });
    const data = due === 0 ? NOTHING : await blobs.read(hashHex, offset, due);
    host.peers.count(peer, 'bytesServed', data.length);
    return encodeBlobAnswer({ status: 'ok', sizeBytes, data });
  }

  async function answerHave(bytes: Uint8Array): Promise<Uint8Array> {
    const flags: boolean[] = [];
    for (const hash of decodeHaveRequest(bytes).hashes) flags.push(await blobs.has(toHex(hash)));
    return encodeHaveAnswer({ status: 'ok', bits: packBits(flags) });
  }

  return {
    async start() {
      await requests.serve(BLOB_PROTOCOL, answerBlob, {
        maxRequestBytes: BLOB_REQUEST_MAX_BYTES,
        busy: encodeBlobAnswer({ status: 'busy', sizeBytes: 0, data: NOTHING }),
      });
      await requests.serve(HAVE_PROTOCOL, answerHave, {
        maxRequestBytes: STREAM_REQUEST_MAX_BYTES,
        busy: encodeHaveAnswer({ status: 'busy', bits: NOTHING }),
        rate: { perSecond: 10, burst: 100 },
      });
    },
  };
}
