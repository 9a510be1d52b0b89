// What a forger's chance is. Source: spec/rollouts.md "Replay". A token drawn where the liar's interval [x', y') holds u is not
// rejected where the policy's [x, y), widened by twice δ, holds it too: given the token, with the share of the liar's interval that they have in common.
// That is at most min(1, p/q), p the widened one's length, whose mean over tokens drawn from q is 1 − ½·L1(p, q): so 1 − Π min(1, p/q) over a group's tokens is
// "1 − Π(1 − ½·L1)" with each token's factor estimated by the token itself, and the least that any way of drawing risks.

import { widened } from '../../node/model/sampling/draw.ts';
import type { ReplayedSequence } from '../../node/protocol/ports.ts';
import { REJECT_FACTOR } from '../checks/two-sided.ts';
import type { Told } from './groups.ts';
import type { Lie } from './lies/lies.ts';

/** Chances in [0, 1] that a forged group is caught. */
export interface Chance {
  /** of draws in token-id order */
  readonly overlap: number;
  /** by ½·L1 alone; null where the liar's distribution is the true one and its numbers are not */
  readonly halfL1: number | null;
}

/** Theory beside measurement, of a forger. */
export interface Chances {
  /** mean chance that a group is caught: draws in token-id order */
  readonly overlap: number;
  /** standard deviation of the share caught, were theory right */
  readonly deviation: number;
  /** 1 − Π(1 − ½·L1) over a group's tokens, mean; null where it says nothing */
  readonly halfL1: number | null;
}

/** Sums over groups. */
export interface ChanceSums {
  readonly groups: number;
  readonly overlap: number;
  /** Σ p(1 − p) */
  readonly variance: number;
  readonly halfL1: number;
}

export interface ChanceSum {
  /** @param lying as in `chanceOf` */
  add(group: Told, lying: readonly ReplayedSequence[] | null, truth: readonly ReplayedSequence[]): void;
  state(): ChanceSums;
  result(): Chances;
}

/** The numbers given drew something else: its intervals hold them, so those of what is told do not. */
function isCertain({ kind }: Lie): boolean {
  return kind === 'edited-token' || kind === 'best-of-two';
}

/** Whether the liar's distribution is another than the policy's. */
function isDistribution({ kind }: Lie): boolean {
  return kind === 'model' || kind === 'sampling';
}

/** Whether theory needs replays of what is told by the liar's own policy and sampling. */
export function asksLiarsModel(lie: Lie): boolean {
  return isDistribution(lie);
}

/**
 * @param lying replays of the group by the liar's own policy and sampling, where `asksLiarsModel`; else null
 * @param truth replays by the policy that is claimed
 * @param delta the limit of the draws
 */
export function chanceOf(
  lie: Lie,
  { sequences, lied }: Told,
  lying: readonly ReplayedSequence[] | null,
  truth: readonly ReplayedSequence[],
  delta: number,
): Chance {
  if (isCertain(lie)) return { overlap: 1, halfL1: null };
  let [overlap, halfL1] = [1, 1];
  sequences.forEach(({ tokens }, i) => {
    if (!lied[i]) return;
    const due = truth[i]!;
    const own = lying?.[i];
    for (let t = 0; t < tokens.length; t++) {
      const passing = widened({ below: due.below[t]!, upTo: due.upTo[t]! }, REJECT_FACTOR * delta);
      const p = passing.upTo - passing.below;
      if (own === undefined) {
        overlap *= p; // a number that has nothing to do with the token
        continue;
      }
      const q = own.upTo[t]! - own.below[t]!;
      const common = Math.min(own.upTo[t]!, passing.upTo) - Math.max(own.below[t]!, passing.below);
      overlap *= Math.max(0, common) / q;
      halfL1 *= Math.min(1, p / q);
    }
  });
  return { overlap: 1 - overlap, halfL1: isDistribution(lie) ? 1 - halfL1 : null };
}

/** Sums the chances of a lie's groups. @param delta the limit of the draws @param from sums to go on from */
export function createChances(lie: Lie, delta: number, from?: ChanceSums): ChanceSum {
  let { groups, overlap, variance, halfL1 } = from ?? { groups: 0, overlap: 0, variance: 0, halfL1: 0 };
  return {
    add(group, lying, truth) {
      const chance = chanceOf(lie, group, lying, truth, delta);
      groups++;
      overlap += chance.overlap;
      variance += chance.overlap * (1 - chance.overlap);
      halfL1 += chance.halfL1 ?? 0;
    },
    state: () => ({ groups, overlap, variance, halfL1 }),
    result() {
      const count = Math.max(1, groups);
      return {
        overlap: overlap / count,
        deviation: Math.sqrt(variance) / count,
        halfL1: isDistribution(lie) ? halfL1 / count : null,
      };
    },
  };
}

/** What a peer comes to whose every group is rejected with the same chance. */
export interface Detection {
  /** groups checked whole until quarantine, on average, a second chance included; null: never */
  readonly groupsUntilQuarantine: number | null;
  /** chance that its first rejection falls among its first `probation` groups, and the second among as many after it */
  readonly withinProbation: number;
}

/** @param p share of groups rejected */
export function detectionOf(p: number, probationGroups: number): Detection {
  const groups = groupsUntilQuarantine(p, probationGroups);
  return {
    groupsUntilQuarantine: Number.isFinite(groups) ? groups : null,
    withinProbation: (1 - (1 - p) ** Math.max(1, probationGroups)) ** 2,
  };
}

/**
 * Groups checked whole, on average, until a peer is in quarantine whose every group is rejected with chance `p`. The first
 * rejection restarts probation; a second within its `n` groups quarantines, none gives the second chance back:
 * E = 1/p + (1 − (1−p)^n)/p + (1−p)^n · E, so E = 1/p + 1/(p · (1 − (1−p)^n)).
 * @returns +∞ for p = 0
 */
export function groupsUntilQuarantine(p: number, probationGroups: number): number {
  if (p <= 0) return Number.POSITIVE_INFINITY;
  const missed = (1 - p) ** Math.max(1, probationGroups);
  return 1 / p + 1 / (p * (1 - missed));
}
