// What a forger's chance is. Source: spec/rollouts.md "Replay". A token drawn where the liar's interval [x', y') holds u passes
// where the policy's [x, y) holds it too: given the token, with the share of the liar's interval that they have in common.
// That is at most min(1, p/q), whose mean over tokens drawn from q is 1 − ½·L1(p, q): so 1 − Π min(1, p/q) over a group's tokens is
// "1 − Π(1 − ½·L1)" with each token's factor estimated by the token itself, and the least that any way of drawing risks.

import type { ReplayedSequence } from '../../node/protocol/ports.ts';
import type { Told } from './groups.ts';
import type { Lie } from './lies/lies.ts';

/** Chances in [0, 1] that a forged group is caught. */
export interface Chance {
  /** of draws in token-id order */
  readonly overlap: number;
  /** by ½·L1 alone; null where the liar's distribution is the true one and its numbers are not */
  readonly halfL1: number | null;
}

/**
 * @param lying replays of the group by the liar's own policy and sampling
 * @param truth replays by the policy that is claimed
 */
export function chanceOf(
  lie: Lie,
  { sequences, lied }: Told,
  lying: readonly ReplayedSequence[],
  truth: readonly ReplayedSequence[],
): Chance {
  let [overlap, halfL1] = [1, 1];
  sequences.forEach(({ tokens }, i) => {
    if (!lied[i]) return;
    const [own, due] = [lying[i]!, truth[i]!];
    // The numbers given drew something else: its intervals hold them, so those of what is told do not.
    const isCertain = lie.kind === 'edited-token' || lie.kind === 'best-of-two';
    if (isCertain) overlap = 0;
    for (let t = 0; t < tokens.length && !isCertain; t++) {
      const p = due.upTo[t]! - due.below[t]!;
      if (lie.kind === 'other-seed') {
        overlap *= p;
        continue;
      }
      const q = own.upTo[t]! - own.below[t]!;
      const common = Math.min(own.upTo[t]!, due.upTo[t]!) - Math.max(own.below[t]!, due.below[t]!);
      overlap *= Math.max(0, common) / q;
      halfL1 *= Math.min(1, p / q);
    }
  });
  const isDistribution = lie.kind === 'model' || lie.kind === 'sampling';
  return { overlap: 1 - overlap, halfL1: isDistribution ? 1 - halfL1 : null };
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
