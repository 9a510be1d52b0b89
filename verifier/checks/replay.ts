// [REJECT] Each token is the one that its uniform number draws from the policy's distribution.
// Source: spec/rollouts.md "Replay", question 1, and "Limits have two sides": inside the interval widened by δ a token passes
// (softly, where it needed the widening or the other cut), between δ and 2δ the group is ignored, beyond it is rejected.

import { drawnWithin } from '../../node/model/sampling/draw.ts';
import { ACCEPT, type CheckAnswer, type Evidence, ignore, reject } from '../../node/protocol/check.ts';
import type { ReplayedSequence } from '../../node/protocol/ports.ts';
import { sequenceSeed, uniforms } from '../../node/protocol/seeds.ts';
import type { ReplaySubject } from './subject.ts';
import { graver, REJECT_FACTOR } from './two-sided.ts';

/** A check's answer, and how many tokens passed only through the widening. */
export interface ReplayAnswer {
  readonly answer: CheckAnswer;
  readonly softMisses: number;
}

/** drawn: u lies in the interval. soft: in the one widened by δ, or in that of the other cut. borderline: by 2δ. miss: u draws another token. */
export type DrawFit = 'drawn' | 'soft' | 'borderline' | 'miss';

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
    const fit = drawFit(replayed, position, u, limits.delta);
    if (fit === 'soft') softMisses++;
    if (fit === 'drawn' || fit === 'soft') continue;
    const [x, y] = [replayed.below[position]!, replayed.upTo[position]!];
    const evidence: Evidence = { sequence, position, u, x, y, limit: limits.delta };
    answer = graver(
      answer,
      fit === 'borderline' ? ignore('BORDERLINE', evidence) : reject('REPLAY_MISMATCH', evidence),
    );
  }
  return { answer, softMisses };
}

/** How the uniform number of a position fits the token that is said to be drawn by it. */
export function drawFit(
  { below, upTo, alternatives }: Pick<ReplayedSequence, 'below' | 'upTo' | 'alternatives'>,
  position: number,
  u: number,
  delta: number,
): DrawFit {
  const [x, y] = [below[position]!, upTo[position]!];
  if (x <= u && u < y) return 'drawn';
  const others = alternatives.filter((other) => other.position === position);
  const passes = (by: number): boolean =>
    drawnWithin(u, x, y, by) || others.some((other) => drawnWithin(u, other.below, other.upTo, by));
  if (passes(delta)) return 'soft';
  return passes(REJECT_FACTOR * delta) ? 'borderline' : 'miss';
}
