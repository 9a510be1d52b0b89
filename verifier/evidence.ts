// A verdict's evidence, repeated for a person to read: each token's draw beside its interval, each measure beside its limit.
// Source: spec/rollouts.md "Replay"; design.md "A verdict is evidence, not authority". The answers are those of the checks
// themselves; this only says where they come from.

import type { CheckAnswer } from '../node/protocol/check.ts';
import { type Measures, measure } from './checks/measure.ts';
import { type DrawFit, drawFit, drawnOf } from './checks/replay.ts';
import { judgeReplay } from './checks/stage-two.ts';
import type { KnownOfReplay, ReplaySubject } from './checks/subject.ts';
import { distancesOf } from './checks/toploc.ts';

export interface DrawEvidence {
  readonly position: number;
  /** token id */
  readonly token: number;
  /** the uniform number of this position, and the recomputed interval [x, y) of the token */
  readonly u: number;
  readonly x: number;
  readonly y: number;
  readonly fit: DrawFit;
  /** nats: claimed by the peer, and recomputed here */
  readonly claimedLogprob: number;
  readonly logprob: number;
}

export interface SequenceEvidence {
  readonly sequence: number;
  readonly answer: CheckAnswer;
  readonly softMisses: number;
  readonly measures: Measures;
  /** all tokens, in order */
  readonly draws: readonly DrawEvidence[];
  /** the first that is neither drawn nor soft */
  readonly firstMismatch: DrawEvidence | null;
}

/**
 * Stage 2 of one sequence, in full.
 * @throws {SwarmError} PROOF_NAN and the like, of a replay that is not finite: no fault of the sequence
 */
export function sequenceEvidence(subject: ReplaySubject): SequenceEvidence {
  const known: KnownOfReplay = { drawn: drawnOf(subject), distances: distancesOf(subject) };
  const { softMisses, tokens: _, ...answer } = judgeReplay({ ...subject, known });
  const draws = drawsOf(subject, known.drawn);
  const firstMismatch = draws.find(({ fit }) => fit === 'miss' || fit === 'borderline') ?? null;
  return { sequence: subject.sequence, answer, softMisses, measures: measure(subject, known), draws, firstMismatch };
}

function drawsOf({ rollout, replayed, limits }: ReplaySubject, us: Float64Array): readonly DrawEvidence[] {
  return Array.from(rollout.tokens, (token, position) => {
    const [u, x, y] = [us[position]!, replayed.below[position]!, replayed.upTo[position]!];
    return {
      ...{ position, token, u, x, y },
      fit: drawFit(replayed, position, u, limits.delta),
      claimedLogprob: rollout.logprobs[position]!,
      logprob: replayed.logprobs[position]!,
    };
  });
}

/**
 * Whether what was found here agrees with a verdict.
 * @returns null when neither can be said: between the limits, not checked, or nothing to agree with
 */
export function agreesWith(said: 'accept' | 'ignore' | 'reject' | null, found: CheckAnswer): boolean | null {
  if (said === null || said === 'ignore' || found.answer === 'ignore') return null;
  return said === found.answer;
}
