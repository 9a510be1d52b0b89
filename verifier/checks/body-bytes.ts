// [REJECT] The body's bytes are as many as announced, hash to the announced hash, and decode.
// Source: spec/rollouts.md stage 1 "hash". The fetcher checks the hash too; this holds for bodies from anywhere.

import { decodeBody, type GroupBody } from '../../node/protocol/body.ts';
import { equalBytes, sha256 } from '../../node/protocol/bytes.ts';
import { type CheckAnswer, ignore, reject } from '../../node/protocol/check.ts';
import { errorText, isSwarmError } from '../../node/protocol/errors.ts';
import type { GroupAnnouncement } from '../../node/protocol/group.ts';

/** Of the bytes that hash to the announced hash. */
export function wrongSize({ bodyBytes }: GroupAnnouncement, measured: number): CheckAnswer {
  return reject('SIZE_MISMATCH', { measured, limit: bodyBytes, note: 'bytes of the body' });
}

/** @returns the body, or why there is none: wrong bytes are the sender's fault (ignore), undecodable ones the author's */
export function readBody(announcement: GroupAnnouncement, bytes: Uint8Array): GroupBody | CheckAnswer {
  if (!equalBytes(sha256(bytes), announcement.bodyHash)) return ignore('BODY_HASH', { measured: bytes.length });
  if (bytes.length !== announcement.bodyBytes) return wrongSize(announcement, bytes.length);
  try {
    return decodeBody(bytes);
  } catch (error) {
    if (!isSwarmError(error)) throw error;
    return reject('BODY_MALFORMED', { note: errorText(error).slice(0, 200) });
  }
}
