// Stage 2: one sequence beside its replay by the policy it names. Draws first, then log-probs, then activations.
// Source: spec/rollouts.md "Replay". A replay that is not finite or not as long as the sequence is our fault: ignored.

import type { GroupBody } from '../../node/protocol/body.ts';
import { type CheckAnswer, ignore } from '../../node/protocol/check.ts';
import type { GroupAnnouncement } from '../../node/protocol/group.ts';
import type { ReplayedSequence } from '../../node/protocol/ports.ts';
import { groupSeed } from '../../node/protocol/seeds.ts';
import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { logprobDrift } from './logprob-drift.ts';
import { checkReplayedTokens } from './replay.ts';
import { type BodyContext, type Check, limitsOf, type ReplaySubject } from './subject.ts';
import { toploc } from './toploc.ts';
import { graver } from './two-sided.ts';

/** What comes after the draws, in order. */
const AFTER_DRAWS: readonly Check<ReplaySubject>[] = [logprobDrift, toploc];

/** A check's answer, with what standing counts. */
export type ReplayVerdict = CheckAnswer & {
  /** tokens that passed only through the widening by δ */
  readonly softMisses: number;
  /** tokens replayed */
  readonly tokens: number;
};

/**
 * Stage 2 of one sequence.
 * @param replayed what `PolicyEngine.replay` gave for the body's prompt and this sequence's tokens
 * @param limits the recipe's by default
 */
export function checkReplay(
  context: BodyContext,
  announcement: GroupAnnouncement,
  body: GroupBody,
  sequenceIndex: number,
  replayed: ReplayedSequence,
  limits: VerificationLimits = limitsOf(context.recipe),
): ReplayVerdict {
  const tokens = body.sequences[sequenceIndex]!.tokens.length;
  if (!isUsable(replayed, tokens, context.hiddenSize)) {
    const note = 'the replay is not finite or not as long as the sequence';
    return { ...ignore('INTERNAL', { sequence: sequenceIndex, note }), softMisses: 0, tokens };
  }
  const subject: ReplaySubject = {
    context,
    announcement,
    body,
    groupSeed: groupSeed(announcement),
    sequence: sequenceIndex,
    replayed,
    limits,
  };
  const draws = checkReplayedTokens(subject);
  let answer = draws.answer;
  for (const check of AFTER_DRAWS) {
    if (answer.answer === 'reject') break;
    answer = graver(answer, check.run(subject));
  }
  return { ...answer, softMisses: draws.softMisses, tokens };
}

function isUsable({ logprobs, below, upTo, hidden }: ReplayedSequence, tokens: number, hiddenSize: number): boolean {
  return (
    [logprobs, below, upTo].every((list) => list.length === tokens && list.every(Number.isFinite)) &&
    hidden.length === (tokens - 1) * hiddenSize &&
    hidden.every((bits) => (bits & 0x7fff) <= 0x7f80)
  );
}
