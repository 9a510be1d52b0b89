// Fetching a body until it is here or its time is up.
// Source: spec/rollouts.md "Randomness" (a body that cannot be had within bodyTimeoutMs: BODY_MISSING, ignored).

import { toHex } from '../node/protocol/bytes.ts';
import { type CheckAnswer, ignore } from '../node/protocol/check.ts';
import { isSwarmError } from '../node/protocol/errors.ts';
import type { GroupAnnouncement } from '../node/protocol/group.ts';
import type { BlobFetcher, Clock } from '../node/protocol/ports.ts';

/** One attempt, so that a peer which never answers does not hold a place for long. Our own. */
const ATTEMPT_MS = 10_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 4_000;

export interface BodyRequest {
  readonly announcement: GroupAnnouncement;
  readonly peer: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/** @returns the bytes (their hash checked by the fetcher), or ignore BODY_MISSING. @throws what is our own trouble (DISK_FULL, …) */
export async function fetchBody(
  components: { readonly blobs: BlobFetcher; readonly clock: Clock },
  request: BodyRequest,
): Promise<Uint8Array | CheckAnswer> {
  const { blobs, clock } = components;
  const { announcement, peer, deadlineMs, signal } = request;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    const leftMs = deadlineMs - clock.nowMs();
    if (leftMs <= 0 || signal.aborted) return ignore('BODY_MISSING');
    try {
      return await blobs.fetch(toHex(announcement.bodyHash), {
        sizeBytes: announcement.bodyBytes,
        from: [peer],
        timeoutMs: Math.min(ATTEMPT_MS, leftMs),
        signal,
      });
    } catch (error) {
      if (signal.aborted) return ignore('BODY_MISSING');
      if (isSwarmError(error, 'DISK_FULL', 'DISK_BUDGET', 'INTERNAL') || !isSwarmError(error)) throw error;
    }
    await clock.sleep(Math.min(pauseMs, Math.max(0, deadlineMs - clock.nowMs())), signal);
  }
}
