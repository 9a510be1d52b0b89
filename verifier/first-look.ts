// The cheap beginning of stage 2: prompt and 16 tokens of one sequence, before the whole group of a suspect is replayed.
// Source: spec/rollouts.md "Order of checks", stage 2 ("starts with the prompt and 16 tokens of one sequence, stops at the first
// rejection").
// A look is a pass of its own: it saves the whole replay of a group that it rejects, and comes on top of that of any other. It costs
// 3 to 13 % of a whole replay (measured: 0.03 for 16 × 65 tokens, 0.11 for 16 × 12, 0.13 for 4 × 128 behind prompts of 16 to 64), so it
// pays where it rejects more than that share of the groups; of a group that is due for one sequence only, it would cost 40 to 70 % of
// the replay. So looks are for whole groups of peers on probation: those that were caught before, and all while many of theirs are
// rejected. Peers past probation are never looked at first.
// Invariant: a look only rejects, and only what the replay of that sequence would reject; nothing is accepted without its replay.

import { ACCEPT, type CheckAnswer } from '../node/protocol/check.ts';
import type { ReplayedSequence, ReplayRequest } from '../node/protocol/ports.ts';
import type { VerificationLimits } from '../node/protocol/verdict.ts';
import { logprobDrift } from './checks/logprob-drift.ts';
import { checkReplayedTokens } from './checks/replay.ts';
import { type BodyContext, replaySubject } from './checks/subject.ts';
import type { Job } from './job.ts';
import type { Standing } from './standing.ts';

/** Source: spec/rollouts.md "Order of checks". */
export const LOOK_TOKENS = 16;
/** Newcomers are looked at first while so many of their groups are rejected: twice the dearest look measured. */
const SUSPECT_SHARE = 0.25;
/** Groups over which that share is taken, the newest counting most. */
const MEMORY_GROUPS = 32;

export interface Suspicion {
  /** whether a first look at a group is likely to save more than it costs */
  isWorthALook(job: Job): boolean;
  /** a newcomer's group was accepted or rejected */
  judged(peer: string, answer: CheckAnswer): void;
}

/** Nobody is suspected at first. */
export function createSuspicion(standing: Pick<Standing, 'isNewcomer' | 'wasCaught'>): Suspicion {
  let rejectedShare = 0;
  return {
    isWorthALook: ({ isWhole, peer }) =>
      isWhole && standing.isNewcomer(peer) && (standing.wasCaught(peer) || rejectedShare > SUSPECT_SHARE),
    judged(peer, { answer }) {
      if (answer === 'ignore' || !(standing.isNewcomer(peer) || answer === 'reject')) return;
      rejectedShare += ((answer === 'reject' ? 1 : 0) - rejectedShare) / MEMORY_GROUPS;
    },
  };
}

/** What is replayed for a look at a job, whose body is here. */
export function lookRequest({ body, sequence }: Job): ReplayRequest {
  const { prompt, sequences } = body!;
  return { prompt: prompt.slice(), tokens: sequences[sequence]!.tokens.slice(0, LOOK_TOKENS) };
}

/**
 * Draws and each token's log-prob of the beginning of a job's secret sequence; its mean and its activations are not judged by a part.
 * @returns a rejection, or accept: nothing was found
 */
export function judgeLook(
  context: BodyContext,
  job: Job,
  replayed: ReplayedSequence,
  limits: VerificationLimits,
): CheckAnswer {
  const { tokens } = lookRequest(job);
  const isWhole = [replayed.logprobs, replayed.below, replayed.upTo].every(
    (list) => list.length === tokens.length && list.every(Number.isFinite),
  );
  if (!isWhole) return ACCEPT;
  // No mean is above its largest: the mean's limit out of the way.
  const eased = { ...limits, maxMeanLogprobDrift: limits.maxLogprobDrift };
  const subject = replaySubject(context, job.announcement, job.body!, job.sequence, replayed, eased);
  const logprobs = subject.rollout.logprobs.slice(0, LOOK_TOKENS);
  const begun = { ...subject, rollout: { ...subject.rollout, tokens, logprobs } };
  for (const answer of [checkReplayedTokens(begun).answer, logprobDrift.run(begun)]) {
    if (answer.answer === 'reject') return answer;
  }
  return ACCEPT;
}
