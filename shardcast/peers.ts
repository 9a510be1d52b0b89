// Which peer to ask for a shard: probability ∝ success rate × bandwidth, both moving averages (spec/shardcast.md).
// Failure counts against success only, never against bandwidth; success heals a little at every update, so that a peer that
// recovered is tried again. A range that is late says how fast its peer is at most, and counts against both: else who delivered
// a little very fast could hold range after range. Invariant: at most a quarter of the requests go to peers that have
// delivered nothing yet, fewer when they were late, unless nobody else has the shard.

import type { PeerIdString } from '../node/protocol/ports.ts';

/** Weight of the newest observation. Source: spec/shardcast.md "How it spreads". */
const EMA_ALPHA = 0.3;
/** What every peer's success regains at an update of any peer. Source: the same. */
const HEALING = 0.01;
/** Share of requests that may go to peers that have delivered nothing yet. Source: the same. */
const UNPROVEN_SHARE = 0.25;
/** What a newcomer is taken for until it has delivered. */
const NEWCOMER_BYTES_PER_MS = 256;
/** A peer is never quite out: its recovery could not be seen. Our own. */
const MIN_SUCCESS = 0.01;
const MIN_BYTES_PER_MS = 1;

interface Score {
  success: number;
  bytesPerMs: number;
  delivered: boolean;
}

/** What is known of one peer as a source of shards. */
export interface PeerScore {
  /** [0.01, 1] */
  readonly success: number;
  readonly bytesPerMs: number;
  /** whether it ever delivered a whole, right shard */
  readonly hasDelivered: boolean;
}

export interface ShardPeers {
  /** One of `candidates` by chance, null when there is none. @param draw uniform in [0, 1) */
  choose(candidates: readonly PeerIdString[], draw: () => number): PeerIdString | null;
  succeeded(peer: PeerIdString, bytes: number, elapsedMs: number): void;
  failed(peer: PeerIdString): void;
  /** A range of so many bytes has not come after so long: another peer is asked for it as well. */
  late(peer: PeerIdString, bytes: number, waitedMs: number): void;
  score(peer: PeerIdString): PeerScore;
}

function pickByWeight<T>(items: readonly T[], weightOf: (item: T) => number, u: number): T | null {
  let total = 0;
  for (const item of items) total += weightOf(item);
  let left = u * total;
  for (const item of items) {
    left -= weightOf(item);
    if (left < 0) return item;
  }
  return items.at(-1) ?? null;
}

/** Scores of the peers that shards are fetched from, for the life of a process. */
export function createShardPeers(): ShardPeers {
  const scores = new Map<PeerIdString, Score>();

  const scoreOf = (peer: PeerIdString): Score => {
    let score = scores.get(peer);
    if (score === undefined) {
      score = { success: 0.5, bytesPerMs: NEWCOMER_BYTES_PER_MS, delivered: false };
      scores.set(peer, score);
    }
    return score;
  };
  const observe = (peer: PeerIdString, success: number): Score => {
    const score = scoreOf(peer);
    for (const other of scores.values()) other.success = Math.min(1, other.success + HEALING);
    score.success = Math.max(MIN_SUCCESS, (1 - EMA_ALPHA) * score.success + EMA_ALPHA * success);
    return score;
  };

  return {
    choose(candidates, draw) {
      const proven = candidates.filter((peer) => scores.get(peer)?.delivered === true);
      const unproven = candidates.filter((peer) => scores.get(peer)?.delivered !== true);
      // Less than what a newcomer is taken for: these were late before.
      const fastest = Math.max(0, ...unproven.map((peer) => scoreOf(peer).bytesPerMs));
      const share = UNPROVEN_SHARE * (fastest / NEWCOMER_BYTES_PER_MS);
      const tryNew = unproven.length > 0 && (proven.length === 0 || draw() < share);
      const weight = (peer: PeerIdString): number => scoreOf(peer).success * scoreOf(peer).bytesPerMs;
      return pickByWeight(tryNew ? unproven : proven, weight, draw());
    },
    succeeded(peer, bytes, elapsedMs) {
      const score = observe(peer, 1);
      const measured = bytes / Math.max(1, elapsedMs);
      score.bytesPerMs = score.delivered ? (1 - EMA_ALPHA) * score.bytesPerMs + EMA_ALPHA * measured : measured;
      score.delivered = true;
    },
    failed(peer) {
      observe(peer, 0);
    },
    late(peer, bytes, waitedMs) {
      const score = observe(peer, 0);
      const atMost = Math.min(score.bytesPerMs / 2, bytes / Math.max(1, waitedMs));
      score.bytesPerMs = Math.max(MIN_BYTES_PER_MS, atMost);
    },
    score(peer) {
      const { success, bytesPerMs, delivered } = scoreOf(peer);
      return { success, bytesPerMs, hasDelivered: delivered };
    },
  };
}
