// One announced group on its way through this verifier.

import type { GroupBody } from '../node/protocol/body.ts';
import { toHex } from '../node/protocol/bytes.ts';
import type { GroupAnnouncement } from '../node/protocol/group.ts';
import { decodeGroup } from '../node/protocol/group.ts';
import type { SignedMessage } from '../node/protocol/ports.ts';

/** `final` is for good: a verdict is out, and nothing else happens to the group here. */
export type JobState = 'parked' | 'fetching' | 'queued' | 'replaying' | 'final';

export interface Job {
  readonly groupId: Uint8Array;
  readonly groupIdHex: string;
  readonly peer: string;
  readonly announcement: GroupAnnouncement;
  /** hex */
  readonly policyRoot: string;
  /** hex */
  readonly bodyHash: string;
  readonly arrivedMs: number;
  /** in [0, 1), drawn here and known to nobody else: who is given up first when too much waits (the highest) */
  readonly lot: number;
  state: JobState;
  /** its body came from a peer, for it */
  isFetched: boolean;
  /** from stage 1 on, until final */
  body: GroupBody | null;
  /** every sequence is due, not one */
  isWhole: boolean;
  /** the sequence that is due in any case */
  sequence: number;
  /** replays that failed through no fault of the peer */
  failures: number;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE (stage 0 has decoded it before) */
export function jobOf(message: SignedMessage, nowMs: number, lot: number): Job {
  const announcement = decodeGroup(message.payload);
  return {
    groupId: message.id,
    groupIdHex: message.idHex,
    peer: message.peerIdString,
    announcement,
    policyRoot: toHex(announcement.policyRoot),
    bodyHash: toHex(announcement.bodyHash),
    arrivedMs: nowMs,
    lot,
    state: 'parked',
    isFetched: false,
    body: null,
    isWhole: false,
    sequence: 0,
    failures: 0,
  };
}

/** Sequences to replay. */
export function dueSequences(job: Job): readonly number[] {
  return job.isWhole ? job.announcement.lengths.map((_, i) => i) : [job.sequence];
}

/** Tokens of a job's replay, prompts included. */
export function dueTokens(job: Job): number {
  const prompt = job.body?.prompt.length ?? 0;
  return dueSequences(job).reduce((sum, i) => sum + prompt + job.announcement.lengths[i]!, 0);
}
