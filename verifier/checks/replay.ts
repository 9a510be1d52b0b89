// [REJECT] Each token is the one that its uniform number draws from the policy's distribution.
// Source: spec/rollouts.md "Replay", question 1, and "Limits have two sides": inside the interval widened by δ a token passes
// (softly, where it needed the widening or the other cut), between δ and 2δ the group is ignored, beyond it is rejected.

import { drawnWithin } from '../../node/model/sampling/draw.ts';
import { ACCEPT, type CheckAnswer, type Evidence, ignore, reject } from '../../node/protocol/check.ts';
import { sequenceSeed, uniforms } from '../../node/protocol/seeds.ts';
import type { ReplaySubject } from './subject.ts';
import { graver, REJECT_FACTOR } from './two-sided.ts';

/** A check's answer, and how many tokens passed only through the widening. */
export interface ReplayAnswer {
  readonly answer: CheckAnswer;
  readonly softMisses: number;
}

interface Interval {
  readonly below: number;
  readonly upTo: number;
}

/** The uniform number that drew each token of a sequence. @returns f64[tokens] */
export function drawnOf({ groupSeed, sequence, rollout }: ReplaySubject): Float64Array {
  return uniforms(sequenceSeed(groupSeed, sequence), rollout.tokens.length);
}

/** One miss rejects: a single free one in 256 tokens would be 24 bits to steer by. */
export function checkReplayedTokens(subject: ReplaySubject): ReplayAnswer {
  const { replayed, sequence, limits } = subject;
  const drawn = subject.known?.drawn ?? drawnOf(subject);
  let answer: CheckAnswer = ACCEPT;
  let softMisses = 0;
  for (let position = 0; position < drawn.length && answer.answer !== 'reject'; position++) {
    const u = drawn[position]!;
    const own: Interval = { below: replayed.below[position]!, upTo: replayed.upTo[position]! };
    if (own.below <= u && u < own.upTo) continue;
    const intervals = [own, ...replayed.alternatives.filter((other) => other.position === position)];
    if (passes(intervals, u, limits.delta)) {
      softMisses++;
      continue;
    }
    const evidence: Evidence = { sequence, position, u, x: own.below, y: own.upTo, limit: limits.delta };
    const borderline = passes(intervals, u, REJECT_FACTOR * limits.delta);
    answer = graver(answer, borderline ? ignore('BORDERLINE', evidence) : reject('REPLAY_MISMATCH', evidence));
  }
  return { answer, softMisses };
}

function passes(intervals: readonly Interval[], u: number, delta: number): boolean {
  return intervals.some(({ below, upTo }) => drawnWithin(u, below, upTo, delta));
}
