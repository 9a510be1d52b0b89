// What a verifier's three questions measure of one sequence, as plain numbers: each beside the limit that it is held against.
// Source: spec/rollouts.md "Replay". The verdict itself is `judgeReplay`'s; these tell how far from the limits it was.

import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import type { KnownOfReplay, ReplaySubject } from './subject.ts';
import { REJECT_FACTOR } from './two-sided.ts';

export type MeasureName =
  | 'logitMove'
  | 'largestDrift'
  | 'meanDrift'
  | 'exponentMismatches'
  | 'mantissaErrorMean'
  | 'mantissaErrorMedian';

/** The limit of each, in the order of the checks. */
export const LIMIT_OF: Readonly<Record<MeasureName, keyof VerificationLimits>> = {
  logitMove: 'delta',
  largestDrift: 'maxLogprobDrift',
  meanDrift: 'maxMeanLogprobDrift',
  exponentMismatches: 'maxExponentMismatches',
  mantissaErrorMean: 'maxMantissaErrorMean',
  mantissaErrorMedian: 'maxMantissaErrorMedian',
};

export const MEASURES: readonly MeasureName[] = Object.keys(LIMIT_OF) as MeasureName[];

/** The worst of a sequence, each. +∞ where nothing would excuse it: a token that was cut, a proof that cannot be read. */
export type Measures = Readonly<Record<MeasureName, number>>;

/**
 * How far logits / temperature must have moved, in nats, for `u` to draw a token that lies at [x, y): 0 inside, +∞ for a token
 * that cannot be drawn. The δ at which `drawnWithin` turns.
 */
export function logitMoveOf(u: number, x: number, y: number): number {
  if (!(y > x)) return Number.POSITIVE_INFINITY;
  if (u < x) return Math.log((x * (1 - u)) / (u * (1 - x))) / 2;
  return u < y ? 0 : Math.log((u * (1 - y)) / (y * (1 - u))) / 2;
}

/** All measures of one sequence beside its replay. */
export function measure({ rollout, replayed }: ReplaySubject, { drawn, distances }: KnownOfReplay): Measures {
  const { tokens, logprobs } = rollout;
  let logitMove = 0;
  let largestDrift = 0;
  let sum = 0;
  for (let t = 0; t < tokens.length; t++) {
    let move = logitMoveOf(drawn[t]!, replayed.below[t]!, replayed.upTo[t]!);
    for (const { position, below, upTo } of replayed.alternatives) {
      if (position === t) move = Math.min(move, logitMoveOf(drawn[t]!, below, upTo));
    }
    logitMove = Math.max(logitMove, move);
    const drift = Math.abs(logprobs[t]! - replayed.logprobs[t]!);
    largestDrift = Math.max(largestDrift, drift);
    sum += drift;
  }
  return { logitMove, largestDrift, meanDrift: sum / tokens.length, ...worstProof(distances) };
}

function worstProof(distances: KnownOfReplay['distances']): Omit<Measures, 'logitMove' | 'largestDrift' | 'meanDrift'> {
  if ('problem' in distances) {
    const never = Number.POSITIVE_INFINITY;
    return { exponentMismatches: never, mantissaErrorMean: never, mantissaErrorMedian: never };
  }
  const worst = { exponentMismatches: 0, mantissaErrorMean: 0, mantissaErrorMedian: 0 };
  for (const found of distances) {
    worst.exponentMismatches = Math.max(worst.exponentMismatches, found.exponentMismatches);
    worst.mantissaErrorMean = Math.max(worst.mantissaErrorMean, found.mantissaErrorMean);
    worst.mantissaErrorMedian = Math.max(worst.mantissaErrorMedian, found.mantissaErrorMedian);
  }
  return worst;
}

/** The larger of each. */
export function worstOf(a: Measures, b: Measures): Measures {
  return Object.fromEntries(MEASURES.map((name) => [name, Math.max(a[name], b[name])])) as Measures;
}

export const NO_DISTANCE: Measures = Object.fromEntries(MEASURES.map((name) => [name, 0])) as Measures;

/** Whether one measure alone rejects. */
export function rejects(measures: Measures, name: MeasureName, limits: VerificationLimits): boolean {
  return !(measures[name] <= REJECT_FACTOR * limits[LIMIT_OF[name]]);
}
