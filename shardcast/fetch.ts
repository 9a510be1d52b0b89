// Shards of one encoding, fetched from whoever holds them, several at once (spec/shardcast.md "How it spreads").
// Left for later: rarest-first; here the order is random, so that peers that start together hold different shards soon.
// Invariants: a shard is stored only after its SHA-256 was right; shards on disk are never fetched again, so an interrupted
// download resumes; a wrong shard costs its sender score and is asked elsewhere; a full disk ends the fetch and nothing else;
// who does not say what it holds is waited for once.

import { sha256, toHex } from '../node/protocol/bytes.ts';
import { errorText, isSwarmError, SwarmError } from '../node/protocol/errors.ts';
import { RANGE_MAX_BYTES } from '../node/protocol/limits.ts';
import type { BlobFetcher, BlobStore, Clock, Logger, PeerIdString } from '../node/protocol/ports.ts';
import { createShardPeers, type ShardPeers } from './peers.ts';

export interface ShardRef {
  readonly hashHex: string;
  readonly sizeBytes: number;
}

export interface ShardFetcherComponents {
  readonly fetcher: BlobFetcher;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface ShardFetcherInit {
  /** shards under way at once */
  readonly inFlight?: number;
  readonly rangeBytes?: number;
  /** a range that takes longer than this, and than 64 KiB/s would, is asked of a second peer as well */
  readonly slowAfterMs?: number;
  /** wait between rounds that brought nothing; doubles up to `maxRetryMs` */
  readonly retryMs?: number;
  readonly maxRetryMs?: number;
  /** uniform in [0, 1): order of shards and choice of peers (no security rests on it) */
  readonly draw?: () => number;
}

export interface ShardFetchOptions {
  /** the manifest's signer, asked when nobody else helps */
  readonly signer: PeerIdString;
  readonly signal: AbortSignal;
}

export interface ShardFetcher {
  /**
   * Resolves once all shards are in the blob store.
   * @throws {SwarmError} DISK_FULL, DISK_BUDGET, INTERRUPTED (the signal)
   */
  fetch(shards: readonly ShardRef[], options: ShardFetchOptions): Promise<void>;
  readonly peers: ShardPeers;
}

/** Source: spec/shardcast.md, "slower than 64 KiB/s for 10 s". */
const SLOW_BYTES_PER_MS = 64 * 1.024;
const SLOW_AFTER_MS = 10_000;
const MAX_PEERS_ASKED = 32;
/** A round begins without the peers that have not said by then what they hold; what they say later still counts. Our own. */
const HAVE_PATIENCE_MS = 1_500;
/** Shards tried between two looks at who holds what. */
const SHARDS_A_ROUND = 16;

interface Received {
  readonly bytes: Uint8Array;
  readonly peer: PeerIdString;
  readonly elapsedMs: number;
}

/** By shard, who said that it holds it; of all rounds of a fetch, so that a late answer counts. */
type Holders = Map<string, Set<PeerIdString>>;

/** Who may be asked for which shard in this round. */
interface Round {
  readonly holders: Holders;
  readonly failed: Map<string, Set<PeerIdString>>;
}

function shuffled<T>(items: readonly T[], draw: () => number): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

function interrupted(): SwarmError {
  return new SwarmError('INTERRUPTED', 'fetching shards was stopped; whole shards stay on disk');
}

/** Fetches shards into a blob store; scores of peers last as long as the fetcher. */
export function createShardFetcher(components: ShardFetcherComponents, init: ShardFetcherInit = {}): ShardFetcher {
  const { fetcher, blobs, clock, logger } = components;
  const { inFlight = 4, slowAfterMs = SLOW_AFTER_MS, retryMs = 250, maxRetryMs = 5_000, draw = Math.random } = init;
  const rangeBytes = Math.min(init.rangeBytes ?? RANGE_MAX_BYTES, RANGE_MAX_BYTES);
  const peers = createShardPeers();
  /** asked what they hold, and have not answered yet */
  const asking = new Map<PeerIdString, Promise<void>>();
  /** the last time they were asked what they hold they took too long: not waited for until they are quicker */
  const silent = new Set<PeerIdString>();

  /** Asks a second peer when the first is slow; the first answer counts. */
  async function range(
    peer: PeerIdString,
    second: (late: PeerIdString) => PeerIdString | null,
    shard: ShardRef,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<Received> {
    const done = new AbortController();
    const either = AbortSignal.any([signal, done.signal]);
    const ask = async (from: PeerIdString): Promise<Received> => {
      const startMs = clock.nowMs();
      const bytes = await fetcher.range(from, shard.hashHex, offset, length, either);
      if (bytes.length !== length) {
        throw new SwarmError('SHARD_CORRUPT', `asked ${length} bytes of a shard, got ${bytes.length}`, { peer: from });
      }
      return { bytes, peer: from, elapsedMs: clock.nowMs() - startMs };
    };
    const first = ask(peer);
    const patienceMs = Math.max(slowAfterMs, length / SLOW_BYTES_PER_MS);
    try {
      const quick = await Promise.race([first, clock.sleep(patienceMs, either).then(() => null)]);
      if (quick !== null) return quick;
      if (!either.aborted) peers.late(peer, length, patienceMs);
      const other = either.aborted ? null : second(peer);
      return await (other === null ? first : Promise.any([first, ask(other)]));
    } catch (error) {
      throw error instanceof AggregateError ? error.errors[0] : error;
    } finally {
      done.abort();
    }
  }

  /** One whole shard; whoever sent part of a wrong one is scored down. */
  async function download(
    peer: PeerIdString,
    shard: ShardRef,
    second: (late: PeerIdString) => PeerIdString | null,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const bytes = new Uint8Array(shard.sizeBytes);
    let source = peer;
    const parts: { readonly from: PeerIdString; readonly length: number; readonly elapsedMs: number }[] = [];
    for (let offset = 0; offset < bytes.length; offset += rangeBytes) {
      const length = Math.min(rangeBytes, bytes.length - offset);
      const part = await range(source, second, shard, offset, length, signal);
      // Who overtook a late one goes on with the shard.
      source = part.peer;
      bytes.set(part.bytes, offset);
      parts.push({ from: part.peer, length, elapsedMs: part.elapsedMs });
    }
    if (toHex(sha256(bytes)) !== shard.hashHex) {
      for (const other of new Set(parts.map(({ from }) => from))) if (other !== peer) peers.failed(other);
      throw new SwarmError('SHARD_CORRUPT', 'a shard does not have its hash; it is asked elsewhere', { peer });
    }
    for (const { from, length, elapsedMs } of parts) peers.succeeded(from, length, elapsedMs);
    return bytes;
  }

  /** Tries peer after peer for one shard; false when nobody could give it now. */
  async function fetchOne(shard: ShardRef, round: Round, options: ShardFetchOptions): Promise<boolean> {
    const failed = round.failed.get(shard.hashHex) ?? new Set<PeerIdString>();
    round.failed.set(shard.hashHex, failed);
    const next = (): PeerIdString | null => {
      const left = [...(round.holders.get(shard.hashHex) ?? [])].filter((p) => !failed.has(p));
      return peers.choose(left, draw) ?? (failed.has(options.signer) ? null : options.signer);
    };
    const insteadOf = (late: PeerIdString): PeerIdString | null => {
      failed.add(late);
      return next();
    };
    for (let peer = next(); peer !== null; peer = next()) {
      const asked = peer;
      let bytes: Uint8Array;
      try {
        bytes = await download(asked, shard, insteadOf, options.signal);
      } catch (error) {
        if (options.signal.aborted) throw interrupted();
        failed.add(asked);
        peers.failed(asked);
        const code = isSwarmError(error) ? error.code : 'INTERNAL';
        logger.debug({ peer: asked, shard: shard.hashHex, code, reason: errorText(error) }, 'shard not delivered');
        continue;
      }
      await blobs.put(bytes);
      return true;
    }
    return false;
  }

  /**
   * @param holders gets what peers say, also later
   * @param isHungry the last round brought nothing: a round without any holder waits for the next answer that is due
   */
  async function lookForHolders(
    shards: readonly ShardRef[],
    holders: Holders,
    isHungry: boolean,
    signal: AbortSignal,
  ): Promise<Round> {
    const hashes = shards.map((shard) => shard.hashHex);
    for (const hash of hashes) if (!holders.has(hash)) holders.set(hash, new Set());
    const ask = async (peer: PeerIdString): Promise<void> => {
      const startMs = clock.nowMs();
      try {
        const bits = await fetcher.have(peer, hashes, signal);
        hashes.forEach((hash, i) => {
          if (bits[i] === true) holders.get(hash)!.add(peer);
          else holders.get(hash)!.delete(peer);
        });
        if (clock.nowMs() - startMs < HAVE_PATIENCE_MS) silent.delete(peer);
      } catch (error) {
        logger.debug({ peer, reason: errorText(error) }, 'peer did not say what it holds');
      } finally {
        asking.delete(peer);
      }
    };
    const connected = fetcher.connectedPeers();
    for (const peer of silent) if (!connected.includes(peer)) silent.delete(peer);
    const asked = shuffled(
      connected.filter((peer) => !asking.has(peer)),
      draw,
    ).slice(0, MAX_PEERS_ASKED);
    const quick = asked.filter((peer) => !silent.has(peer));
    for (const peer of asked) asking.set(peer, ask(peer));
    const said = new AbortController();
    const all = Promise.all(quick.map((peer) => asking.get(peer))).then(() => said.abort());
    await Promise.race([all, clock.sleep(HAVE_PATIENCE_MS, AbortSignal.any([signal, said.signal]))]);
    for (const peer of quick) if (asking.has(peer)) silent.add(peer);
    const isAnyHeld = (): boolean => hashes.some((hash) => holders.get(hash)!.size > 0);
    while (isHungry && !isAnyHeld() && asking.size > 0 && !signal.aborted) await Promise.race(asking.values());
    return { holders, failed: new Map() };
  }

  async function missingOf(shards: readonly ShardRef[]): Promise<ShardRef[]> {
    const unique = new Map(shards.map((shard) => [shard.hashHex, shard]));
    const held = await Promise.all([...unique.keys()].map((hash) => blobs.has(hash)));
    return [...unique.values()].filter((_, i) => !held[i]);
  }

  /** Several shards at a time. @returns how many came; the first error of ours ends all */
  async function fetchRound(shards: readonly ShardRef[], round: Round, options: ShardFetchOptions): Promise<number> {
    const queue = [...shards];
    let came = 0;
    const lane = async (): Promise<void> => {
      try {
        for (let shard = queue.shift(); shard !== undefined; shard = queue.shift()) {
          if (await fetchOne(shard, round, options)) came += 1;
        }
      } catch (error) {
        queue.length = 0;
        throw error;
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: Math.min(inFlight, shards.length) }, lane));
    for (const outcome of lanes) if (outcome.status === 'rejected') throw outcome.reason;
    return came;
  }

  return {
    peers,
    async fetch(shards, options) {
      const holders: Holders = new Map();
      let isHungry = false;
      let waitMs = retryMs;
      for (;;) {
        const missing = shuffled(await missingOf(shards), draw);
        if (missing.length === 0) return;
        if (options.signal.aborted) throw interrupted();
        const wanted = missing.slice(0, SHARDS_A_ROUND);
        const round = await lookForHolders(wanted, holders, isHungry, options.signal);
        const came = await fetchRound(wanted, round, options);
        isHungry = came === 0;
        waitMs = isHungry ? Math.min(maxRetryMs, waitMs * 2) : retryMs;
        if (isHungry) await clock.sleep(waitMs, options.signal);
      }
    },
  };
}
