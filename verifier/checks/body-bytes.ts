// [REJECT] The body's bytes are as many as announced, hash to the announced hash, and decode.
// Source: spec/rollouts.md stage 1 "hash". The fetcher checks the hash too; this holds for bodies from anywhere.

import { decodeBody, type GroupBody } from '../../node/protocol/body.ts';
import { equalBytes, sha256 } from '../../node/protocol/bytes.ts';
import { type CheckAnswer, ignore, reject } from '../../node/protocol/check.ts';
import { errorText, isSwarmError } from '../../node/protocol/errors.ts';
import type { GroupAnnouncement } from '../../node/protocol/group.ts';

/** @returns the body, or why there is none: wrong bytes are the sender's fault (ignore), undecodable ones the author's */
export function readBody(announcement: GroupAnnouncement, bytes: Uint8Array): GroupBody | CheckAnswer {
  if (bytes.length !== announcement.bodyBytes && equalBytes(sha256(bytes), announcement.bodyHash)) {
    return reject('SIZE_MISMATCH', {
      measured: bytes.length,
      limit: announcement.bodyBytes,
      note: 'bytes of the body',
    });
  }
  if (!equalBytes(sha256(bytes), announcement.bodyHash)) return ignore('BODY_HASH', { measured: bytes.length });
  try {
    return decodeBody(bytes);
  } catch (error) {
    if (!isSwarmError(error)) throw error;
    return reject('BODY_MALFORMED', { note: errorText(error).slice(0, 200) });
  }
}
