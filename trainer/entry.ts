// One announced group on its way through the pool, and who has said what of it.

import type { GroupBody } from '../node/protocol/body.ts';
import { decodeGroup, type GroupAnnouncement } from '../node/protocol/group.ts';
import type { SignedMessage } from '../node/protocol/ports.ts';
import { groupSeed } from '../node/protocol/seeds.ts';
import type { Signer } from './acceptance.ts';
import type { Candidate } from './batch.ts';

export interface Entry extends Candidate {
  readonly announcement: GroupAnnouncement;
  acceptedMs: number | null;
  body: GroupBody | null;
  /** keys of named verifiers that have said anything of it */
  readonly judgedBy: Set<string>;
  readonly ignoredBy: Set<string>;
  /** by key */
  readonly acceptedBy: Map<string, Signer>;
  /** in a batch under way: nothing but `finish` ends it any more */
  isTaken: boolean;
}

/** A group that may be trained on. */
export interface ReadyGroup extends Candidate {
  readonly announcement: GroupAnnouncement;
  readonly body: GroupBody;
}

/** Nobody has said anything yet. @throws {SwarmError} MALFORMED, TOO_LARGE (stage 0 has decoded it before) */
export function entryOf(message: SignedMessage): Entry {
  const announcement = decodeGroup(message.payload);
  return {
    groupId: message.idHex,
    peer: message.peerIdString,
    policyStep: announcement.policyStep,
    groupSeed: groupSeed(announcement),
    announcement,
    acceptedMs: null,
    body: null,
    judgedBy: new Set(),
    ignoredBy: new Set(),
    acceptedBy: new Map(),
    isTaken: false,
  };
}
