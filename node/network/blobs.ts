// Bytes by hash from other peers: whole from one peer at a time, so that a wrong hash has one culprit.
// Source: design.md "bounded pull, request ≤ 1 MiB, verify, request the next"; spec/wire.md "Streams".
// Invariants: nothing enters the local store before its hash is right; the same blob is fetched once at a time.

import { concatBytes, fromHex, sha256, toHex } from '../protocol/bytes.ts';
import { errorText, isSwarmError, SwarmError } from '../protocol/errors.ts';
import { BLOB_MAX_BYTES, RANGE_MAX_BYTES, STREAM_ANSWER_MAX_BYTES } from '../protocol/limits.ts';
import type { BlobFetcher, BlobStore, Clock, FetchOptions, Logger, PeerIdString } from '../protocol/ports.ts';
import {
  type BlobAnswer,
  decodeBlobAnswer,
  decodeHaveAnswer,
  encodeBlobRequest,
  encodeHaveRequest,
  unpackBits,
} from '../protocol/streams.ts';
import { BLOB_PROTOCOL, HAVE_PROTOCOL } from '../protocol/topics.ts';
import type { Host } from './host.ts';
import type { Requests } from './streams.ts';

/** One range: long enough for 1 MiB at 70 kB/s, short enough to try another peer. */
const RANGE_TIMEOUT_MS = 15_000;
/** One range of a shard, whose fetcher asks a second peer where the first is slower than 64 KiB/s: longer than that takes for 1 MiB. */
const SHARD_RANGE_TIMEOUT_MS = 30_000;
const HAVE_TIMEOUT_MS = 10_000;
/** Between rounds over all peers, when some were busy or did not answer. */
const ROUND_PAUSE_MS = 300;
/** A peer that does not answer costs at most this share of the whole time, so that others are tried. */
const MIN_SHARE = 1 / 3;

export interface BlobFetcherComponents {
  readonly host: Host;
  readonly requests: Requests;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The BlobFetcher port over request streams; what it fetched whole lies in `blobs`. */
export function createBlobFetcher(components: BlobFetcherComponents): BlobFetcher {
  const { host, blobs } = components;
  const running = new Map<string, Promise<Uint8Array>>();

  async function fetch(hashHex: string, options: FetchOptions): Promise<Uint8Array> {
    checkFetch(hashHex, options);
    if (await blobs.has(hashHex)) return blobs.get(hashHex);
    const other = running.get(hashHex);
    if (other !== undefined) {
      const bytes = await other.catch(() => null);
      if (bytes !== null) return bytes;
    }
    const mine = fetchFromSome(components, hashHex, options).finally(() => running.delete(hashHex));
    running.set(hashHex, mine);
    return mine;
  }

  return {
    fetch,
    async range(peer, hashHex, offset, length, signal) {
      const { answer } = await askRange(components, peer, hashHex, offset, length, SHARD_RANGE_TIMEOUT_MS, signal);
      return answer.data;
    },
    async have(peer, hashes, signal) {
      if (hashes.length === 0) return [];
      const request = encodeHaveRequest({ hashes: hashes.map((hash) => fromHex(hash, 32)) });
      const limits = { maxAnswerBytes: STREAM_ANSWER_MAX_BYTES, timeoutMs: HAVE_TIMEOUT_MS, signal };
      const answer = decodeHaveAnswer(await components.requests.ask(peer, HAVE_PROTOCOL, request, limits));
      if (answer.status !== 'ok') throw refused(peer, answer.status);
      return unpackBits(answer.bits, hashes.length);
    },
    connectedPeers: () => host.peers.connected(),
  };
}

function checkFetch(hashHex: string, options: FetchOptions): void {
  fromHex(hashHex, 32);
  if (options.sizeBytes > BLOB_MAX_BYTES) {
    const message = `a blob has at most ${BLOB_MAX_BYTES} bytes, ${options.sizeBytes} were announced`;
    throw new SwarmError('TOO_LARGE', message, { sizeBytes: options.sizeBytes });
  }
}

function refused(peer: PeerIdString, status: string): SwarmError {
  return new SwarmError('REQUEST_REFUSED', `peer ${peer} answered ${status}; ask again later or another peer`, {
    peer,
    status,
  });
}

/** One range from one peer. @throws {SwarmError} BLOB_MISSING, REQUEST_REFUSED, REQUEST_TIMEOUT, PEER_UNREACHABLE, … */
async function askRange(
  components: BlobFetcherComponents,
  peer: PeerIdString,
  hashHex: string,
  offset: number,
  length: number,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<{ readonly answer: BlobAnswer }> {
  const request = encodeBlobRequest({ hash: fromHex(hashHex, 32), offset, length: Math.min(length, RANGE_MAX_BYTES) });
  const limits = { maxAnswerBytes: STREAM_ANSWER_MAX_BYTES, timeoutMs, signal };
  const answer = decodeBlobAnswer(await components.requests.ask(peer, BLOB_PROTOCOL, request, limits));
  if (answer.status === 'missing') {
    throw new SwarmError('BLOB_MISSING', `peer ${peer} does not hold ${hashHex}`, { peer, hash: hashHex });
  }
  if (answer.status !== 'ok') throw refused(peer, answer.status);
  const due = Math.max(0, Math.min(length, RANGE_MAX_BYTES, answer.sizeBytes - offset));
  if (answer.data.length !== due) {
    const detail = { peer, hash: hashHex, due, got: answer.data.length };
    throw new SwarmError('BLOB_CORRUPT', `peer ${peer} sent ${answer.data.length} bytes of ${due}`, detail);
  }
  components.host.peers.count(peer, 'bytesFetched', answer.data.length);
  return { answer };
}

/** Peers in rounds until one gives the right bytes or time is up. */
async function fetchFromSome(
  components: BlobFetcherComponents,
  hashHex: string,
  options: FetchOptions,
): Promise<Uint8Array> {
  const { host, clock, logger, blobs } = components;
  const endMs = clock.nowMs() + options.timeoutMs;
  const failures = new Map<PeerIdString, unknown>();
  for (;;) {
    for (const peer of candidates(host, options)) {
      if (isFinal(failures.get(peer))) continue;
      const leftMs = endMs - clock.nowMs();
      if (leftMs <= 0) throw fetchError(hashHex, options, failures);
      const timeoutMs = Math.min(RANGE_TIMEOUT_MS, leftMs, Math.max(options.timeoutMs * MIN_SHARE, 1_000));
      try {
        const bytes = await fetchWhole(components, peer, hashHex, options, Math.ceil(timeoutMs), endMs);
        await blobs.put(bytes);
        return bytes;
      } catch (error) {
        if (options.signal?.aborted || isSwarmError(error, 'DISK_FULL', 'DISK_BUDGET', 'INTERRUPTED')) throw error;
        failures.set(peer, error);
        blame(host, peer, error);
        logger.debug({ peer, hash: hashHex, error: errorText(error) }, 'blob not had from this peer');
      }
    }
    const worthAgain = candidates(host, options).some((peer) => !isFinal(failures.get(peer)));
    if (!worthAgain || clock.nowMs() + ROUND_PAUSE_MS >= endMs) throw fetchError(hashHex, options, failures);
    await clock.sleep(ROUND_PAUSE_MS, options.signal);
  }
}

function candidates(host: Host, options: FetchOptions): readonly PeerIdString[] {
  const all = new Set([...(options.from ?? []), ...host.peers.connected()]);
  all.delete(host.peerId);
  return [...all].filter((peer) => !host.standing.isBanned(peer));
}

/** Whether asking that peer again would give the same. */
function isFinal(failure: unknown): boolean {
  return isSwarmError(failure, 'BLOB_MISSING', 'BLOB_CORRUPT', 'MALFORMED', 'TOO_LARGE');
}

function blame(host: Host, peer: PeerIdString, error: unknown): void {
  if (isSwarmError(error, 'BLOB_CORRUPT', 'MALFORMED')) host.standing.penalize(peer, 'corrupt blob');
  if (isSwarmError(error, 'TOO_LARGE')) host.standing.penalize(peer, 'oversized answer');
}

async function fetchWhole(
  components: BlobFetcherComponents,
  peer: PeerIdString,
  hashHex: string,
  options: FetchOptions,
  timeoutMs: number,
  endMs: number,
): Promise<Uint8Array> {
  const { sizeBytes, signal } = options;
  const parts: Uint8Array[] = [];
  for (let offset = 0; offset < Math.max(1, sizeBytes); offset += RANGE_MAX_BYTES) {
    const leftMs = Math.max(1, endMs - components.clock.nowMs());
    const length = Math.max(1, Math.min(RANGE_MAX_BYTES, sizeBytes - offset));
    const limitMs = Math.min(timeoutMs, leftMs);
    const { answer } = await askRange(components, peer, hashHex, offset, length, limitMs, signal);
    if (answer.sizeBytes !== sizeBytes) {
      const detail = { peer, hash: hashHex, announced: sizeBytes, has: answer.sizeBytes };
      // Whoever announced the size may be wrong, not this peer: no BLOB_CORRUPT, but no use asking it again.
      throw new SwarmError('BLOB_MISSING', `peer ${peer} holds this blob with another size`, detail);
    }
    parts.push(answer.data);
  }
  const bytes = concatBytes(...parts);
  const got = toHex(sha256(bytes));
  if (got !== hashHex) {
    const detail = { peer, hash: hashHex, got };
    throw new SwarmError('BLOB_CORRUPT', `peer ${peer} sent bytes that do not hash to ${hashHex}`, detail);
  }
  return bytes;
}

/** The error of a fetch that nobody could serve: the mildest of what happened. */
function fetchError(hashHex: string, options: FetchOptions, failures: ReadonlyMap<PeerIdString, unknown>): SwarmError {
  const all = [...failures.values()];
  const detail = { hash: hashHex, peersAsked: failures.size, timeoutMs: options.timeoutMs };
  const cause = all.at(-1);
  const isUnanswered = all.some((error) => !isFinal(error));
  if (isUnanswered) {
    const message = `no peer gave ${hashHex} within ${options.timeoutMs} ms; it is asked for again later`;
    return new SwarmError('REQUEST_TIMEOUT', message, detail, { cause });
  }
  if (all.some((error) => isSwarmError(error, 'BLOB_CORRUPT', 'MALFORMED'))) {
    return new SwarmError('BLOB_CORRUPT', `every peer that answered sent wrong bytes for ${hashHex}`, detail, {
      cause,
    });
  }
  return new SwarmError('BLOB_MISSING', `none of ${failures.size} peers holds ${hashHex}`, detail, { cause });
}
