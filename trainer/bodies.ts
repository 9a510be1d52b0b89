// Fetching the bodies of accepted groups: some at once, a few a peer, each asked for until it is here or its time is up.
// Source: spec/rollouts.md "Randomness" (bodyTimeoutMs); spec/grpo.md "Exactly once".
// Invariant: a peer that went away holds up its own groups and no others.

import { toHex } from '../node/protocol/bytes.ts';
import { SwarmError } from '../node/protocol/errors.ts';
import type { GroupAnnouncement } from '../node/protocol/group.ts';
import type { BlobFetcher, BlobStore, Clock } from '../node/protocol/ports.ts';

const FETCHES_AT_ONCE = 16;
const FETCHES_PER_PEER = 4;
const FETCH_TIMEOUT_MS = 10_000;
const RETRY_MS = 1_000;

/** A group whose body is wanted. */
export interface WantedBody {
  readonly peer: string;
  readonly announcement: GroupAnnouncement;
}

export interface BodyLanesInit<T extends WantedBody> {
  readonly bodyTimeoutMs: number;
  /** false: its group has ended, nobody waits for the body any more */
  readonly isWanted: (wanted: T) => boolean;
  /** takes the bytes, whose hash is right */
  readonly onBytes: (wanted: T, bytes: Uint8Array) => void;
  readonly onMissing: (wanted: T) => void;
  /** what went wrong on our side, or in `onBytes` */
  readonly onTrouble: (wanted: T, error: unknown) => void;
}

export interface BodyLanes<T extends WantedBody> {
  want(wanted: T): void;
  /** resolves when nothing is under way any more */
  stop(): Promise<void>;
}

/** Lanes that fetch what is wanted, in order, until they are stopped. */
export function createBodyLanes<T extends WantedBody>(
  components: { readonly blobs: BlobStore; readonly fetcher: BlobFetcher; readonly clock: Clock },
  init: BodyLanesInit<T>,
): BodyLanes<T> {
  const { blobs, fetcher, clock } = components;
  const { bodyTimeoutMs, isWanted } = init;
  const stopping = new AbortController();
  const { signal } = stopping;
  const waiting: T[] = [];
  const lanes = new Set<Promise<void>>();
  const lanesOf = new Map<string, number>();

  /** The bytes; null when their time was up. Undefined: nobody wants them any more. */
  async function fetch(wanted: T): Promise<Uint8Array | null | undefined> {
    const { bodyHash, bodyBytes } = wanted.announcement;
    const hashHex = toHex(bodyHash);
    const deadlineMs = clock.nowMs() + bodyTimeoutMs;
    while (isWanted(wanted) && !signal.aborted) {
      try {
        if (await blobs.has(hashHex)) return await blobs.get(hashHex);
        const timeoutMs = Math.min(FETCH_TIMEOUT_MS, bodyTimeoutMs);
        return await fetcher.fetch(hashHex, { sizeBytes: bodyBytes, from: [wanted.peer], timeoutMs, signal });
      } catch (error) {
        if (!(error instanceof SwarmError)) throw error;
      }
      if (clock.nowMs() >= deadlineMs) return null;
      await clock.sleep(RETRY_MS, signal);
    }
    return undefined;
  }

  async function obtain(wanted: T): Promise<void> {
    const bytes = await fetch(wanted);
    if (bytes === undefined || !isWanted(wanted)) return;
    if (bytes === null) init.onMissing(wanted);
    else init.onBytes(wanted, bytes);
  }

  function openLane(wanted: T): void {
    const { peer } = wanted;
    lanesOf.set(peer, (lanesOf.get(peer) ?? 0) + 1);
    const lane = obtain(wanted)
      .catch((error: unknown) => init.onTrouble(wanted, error))
      .finally(() => {
        lanes.delete(lane);
        const left = lanesOf.get(peer)! - 1;
        if (left > 0) lanesOf.set(peer, left);
        else lanesOf.delete(peer);
        if (!signal.aborted) openLanes();
      });
    lanes.add(lane);
  }

  function openLanes(): void {
    while (lanes.size < FETCHES_AT_ONCE) {
      const next = waiting.findIndex(({ peer }) => (lanesOf.get(peer) ?? 0) < FETCHES_PER_PEER);
      if (next < 0) return;
      openLane(waiting.splice(next, 1)[0]!);
    }
  }

  return {
    want(wanted) {
      waiting.push(wanted);
      openLanes();
    },
    async stop() {
      stopping.abort();
      await Promise.all(lanes);
    },
  };
}
