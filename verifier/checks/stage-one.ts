// Stage 1: what every body is held to, without a model. Cheap first; the first answer that is not accept stops.
// Source: spec/rollouts.md "Order of checks". Pure: the trainer runs the very same list on what it consumes.

import type { GroupBody } from '../../node/protocol/body.ts';
import { ACCEPT, type CheckAnswer } from '../../node/protocol/check.ts';
import type { GroupAnnouncement } from '../../node/protocol/group.ts';
import { finish } from './finish.ts';
import { logprobs } from './logprobs.ts';
import { prompt } from './prompt.ts';
import { proofShape } from './proof-shape.ts';
import { rewards } from './rewards.ts';
import { sizes } from './sizes.ts';
import { type BodyContext, type BodySubject, bodySubject, type Check } from './subject.ts';
import { tokens } from './tokens.ts';

/** In the order in which they run. */
export const STAGE_ONE: readonly Check<BodySubject>[] = [sizes, prompt, tokens, logprobs, finish, proofShape, rewards];

/** Stage 1 of a decoded body. */
export function checkBody(context: BodyContext, announcement: GroupAnnouncement, body: GroupBody): CheckAnswer {
  const subject = bodySubject(context, announcement, body);
  for (const check of STAGE_ONE) {
    const answer = check.run(subject);
    if (answer.answer !== 'accept') return answer;
  }
  return ACCEPT;
}
