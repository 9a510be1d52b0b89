// Stage 2: one sequence beside its replay by the policy it names. Draws first, then log-probs, then activations.
// Source: spec/rollouts.md "Replay". A replay that is not finite or not as long as the sequence is our fault: ignored.

import { type CheckAnswer, ignore } from '../../node/protocol/check.ts';
import type { ReplayedSequence } from '../../node/protocol/ports.ts';
import { logprobDrift } from './logprob-drift.ts';
import { checkReplayedTokens } from './replay.ts';
import type { Check, ReplaySubject } from './subject.ts';
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

/** Stage 2 of one sequence. */
export function judgeReplay(subject: ReplaySubject): ReplayVerdict {
  const { rollout, replayed, sequence, hiddenSize } = subject;
  const tokens = rollout.tokens.length;
  if (!isUsable(replayed, tokens, hiddenSize)) {
    const note = 'the replay is not finite or not as long as the sequence';
    return { ...ignore('INTERNAL', { sequence, note }), softMisses: 0, tokens };
  }
  const draws = checkReplayedTokens(subject);
  let answer = draws.answer;
  for (const check of AFTER_DRAWS) {
    if (answer.answer === 'reject') break;
    answer = graver(answer, check.run(subject));
  }
  return { ...answer, softMisses: draws.softMisses, tokens };
}

/** Stage 2 of several sequences of a group, one after another, up to the first rejection. */
export function judgeReplays(subjects: readonly ReplaySubject[]): readonly ReplayVerdict[] {
  const verdicts: ReplayVerdict[] = [];
  for (const subject of subjects) {
    verdicts.push(judgeReplay(subject));
    if (verdicts.at(-1)!.answer === 'reject') break;
  }
  return verdicts;
}

function isUsable({ logprobs, below, upTo, hidden }: ReplayedSequence, tokens: number, hiddenSize: number): boolean {
  return (
    [logprobs, below, upTo].every((list) => list.length === tokens && list.every(Number.isFinite)) &&
    hidden.length === (tokens - 1) * hiddenSize &&
    hidden.every((bits) => (bits & 0x7fff) <= 0x7f80)
  );
}
