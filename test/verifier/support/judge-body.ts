// A body's bytes through everything that stage 1 asks: hash and decoding, then the checks of what it says.

import type { GroupBody } from '../../../node/protocol/body.ts';
import type { CheckAnswer } from '../../../node/protocol/check.ts';
import type { GroupAnnouncement } from '../../../node/protocol/group.ts';
import { readBody } from '../../../verifier/checks/body-bytes.ts';
import { checkBody } from '../../../verifier/checks/stage-one.ts';
import type { BodyContext } from '../../../verifier/checks/subject.ts';

export function judgeBody(
  context: BodyContext,
  announcement: GroupAnnouncement,
  bytes: Uint8Array,
): { readonly answer: CheckAnswer; readonly body: GroupBody | null } {
  const read = readBody(announcement, bytes);
  if ('answer' in read) return { answer: read, body: null };
  return { answer: checkBody(context, announcement, read), body: read };
}
