// The announcement of a group of rollouts: small, gossiped, signed; its body is fetched by hash.
// Source: spec/rollouts.md "A group on the wire"; kind "group" of spec/wire.md.

import {
  checkSize,
  decodeMessage,
  encodeMessage,
  hashField,
  integerField,
  listLength,
  malformed,
  peerIdField,
  toBigInt,
} from './codec.ts';
import {
  BODY_MAX_BYTES,
  GROUP_HEAD_MAX_BYTES,
  GROUP_MAX_BYTES_PER_ROLLOUT,
  MAX_COMPLETION_TOKENS,
  MAX_GROUP_SIZE,
  MAX_GROUP_TOKENS,
  MAX_REWARD_MILLIONTHS,
  MIN_GROUP_SIZE,
  PAYLOAD_MAX_BYTES,
} from './limits.ts';
import { GroupSchema } from './messages_pb.ts';

export interface GroupAnnouncement {
  readonly recipeId: Uint8Array;
  readonly policyStep: number;
  readonly policyRoot: Uint8Array;
  /** multihash of the peer that made it, 38 bytes; that it is the signer's is for stage 0 to check */
  readonly peerId: Uint8Array;
  readonly slot: number;
  /** millionths, one for each rollout */
  readonly rewards: readonly number[];
  /** tokens of each rollout, end token included */
  readonly lengths: readonly number[];
  /** SHA-256 of the encoded body */
  readonly bodyHash: Uint8Array;
  readonly bodyBytes: number;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function encodeGroup(group: GroupAnnouncement): Uint8Array {
  return encodeMessage(
    GroupSchema,
    'group',
    {
      ...group,
      rewards: group.rewards.map((reward) => toBigInt('rewards', reward)),
      lengths: [...group.lengths],
    },
    decodeGroup,
  );
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeGroup(bytes: Uint8Array): GroupAnnouncement {
  const wire = decodeMessage(GroupSchema, 'group', bytes, PAYLOAD_MAX_BYTES);
  listLength('rewards', wire.rewards, MIN_GROUP_SIZE, MAX_GROUP_SIZE);
  listLength('lengths', wire.lengths, wire.rewards.length, wire.rewards.length);
  checkSize('group', bytes, GROUP_HEAD_MAX_BYTES + GROUP_MAX_BYTES_PER_ROLLOUT * wire.rewards.length);
  const lengths = wire.lengths.map((each) => integerField('lengths', each, 1, MAX_COMPLETION_TOKENS));
  const tokens = lengths.reduce((sum, each) => sum + each, 0);
  if (tokens > MAX_GROUP_TOKENS) throw malformed('lengths', `at most ${MAX_GROUP_TOKENS} tokens in all`, tokens);
  return {
    recipeId: hashField('recipeId', wire.recipeId),
    policyStep: wire.policyStep,
    policyRoot: hashField('policyRoot', wire.policyRoot),
    peerId: peerIdField('peerId', wire.peerId),
    slot: wire.slot,
    rewards: wire.rewards.map((each) => integerField('rewards', each, -MAX_REWARD_MILLIONTHS, MAX_REWARD_MILLIONTHS)),
    lengths,
    bodyHash: hashField('bodyHash', wire.bodyHash),
    bodyBytes: integerField('bodyBytes', wire.bodyBytes, 1, BODY_MAX_BYTES),
  };
}
