// Which waiting groups are given up when there are more than can be held: a bound in groups and tokens, pure.
// Source: spec/rollouts.md "Order of checks" (NOT_CHECKED; load never lowers a probability; newcomers get at most half).
// Invariants: nothing here looks at whether a group is due in whole, so of what is checked the same share is checked whole
// under load as without; a peer whose share is smaller than others' loses nothing to them; within a peer and a step the choice
// is a lot that nobody knows.

import type { Job } from './job.ts';

export interface WaitingLimits {
  readonly maxGroups: number;
  /** completion tokens of whole groups, prompts apart */
  readonly maxTokens: number;
}

/** Some 16 bytes of a body a token (ids, log-probs, proofs): 32 MB at most, and minutes of a small model's replay. Our own. */
export const WAITING_LIMITS: WaitingLimits = { maxGroups: 4_096, maxTokens: 2 ** 21 };

/** Newcomers may hold more while nobody else needs it. */
const NEWCOMER_SHARE = 0.5;
/** Once over a limit, so much of it stays: a flood is looked through once for many groups, not for each (measured: 1 ms of 4 096). */
const KEPT_SHARE = 15 / 16;

/** Completion tokens of a group, as announced. Not of what is due: see the invariant. */
export function groupTokens({ announcement }: Job): number {
  return announcement.lengths.reduce((sum, length) => sum + length, 0);
}

interface Share {
  readonly isNewcomer: boolean;
  /** the first to be given up comes last */
  readonly jobs: Job[];
  tokens: number;
}

/**
 * Groups to be given up so that the others are within the limits: from newcomers while they hold more than their half, else
 * from the others; there from the peer that holds most; of a peer the last in the order `compare`.
 * @param waiting all that wait, in any order
 * @param compare of two groups of one peer, negative when the first is kept longer
 * @returns none when the limits hold
 */
export function groupsToGiveUp(
  waiting: readonly Job[],
  isNewcomer: (peer: string) => boolean,
  limits: WaitingLimits,
  compare: (a: Job, b: Job) => number,
): readonly Job[] {
  const held = { groups: waiting.length, tokens: waiting.reduce((sum, job) => sum + groupTokens(job), 0) };
  if (held.groups <= limits.maxGroups && held.tokens <= limits.maxTokens) return [];
  const kept = { groups: limits.maxGroups * KEPT_SHARE, tokens: limits.maxTokens * KEPT_SHARE };
  const shares = sharesOf(waiting, isNewcomer, compare);
  const ofNewcomers = { groups: 0, tokens: 0 };
  for (const share of shares) {
    if (!share.isNewcomer) continue;
    ofNewcomers.groups += share.jobs.length;
    ofNewcomers.tokens += share.tokens;
  }
  const givenUp: Job[] = [];
  while (held.groups > 1 && (held.groups > kept.groups || held.tokens > kept.tokens)) {
    const unit = held.tokens > kept.tokens ? 'tokens' : 'groups';
    const fromNewcomers = ofNewcomers[unit] > kept[unit] * NEWCOMER_SHARE;
    const share = heaviest(shares, fromNewcomers, unit);
    const job = share.jobs.pop()!;
    const tokens = groupTokens(job);
    share.tokens -= tokens;
    for (const sum of fromNewcomers ? [held, ofNewcomers] : [held]) {
      sum.groups--;
      sum.tokens -= tokens;
    }
    givenUp.push(job);
  }
  return givenUp;
}

function sharesOf(
  waiting: readonly Job[],
  isNewcomer: (peer: string) => boolean,
  compare: (a: Job, b: Job) => number,
): readonly Share[] {
  const byPeer = new Map<string, Share>();
  for (const job of waiting) {
    const share = byPeer.get(job.peer) ?? { isNewcomer: isNewcomer(job.peer), jobs: [], tokens: 0 };
    byPeer.set(job.peer, share);
    share.jobs.push(job);
    share.tokens += groupTokens(job);
  }
  for (const { jobs } of byPeer.values()) jobs.sort(compare);
  return [...byPeer.values()];
}

/** The share of one kind that holds most; among equals the one whose next group has the highest lot. */
function heaviest(shares: readonly Share[], isNewcomer: boolean, unit: 'groups' | 'tokens'): Share {
  const weight = (share: Share): number => (unit === 'tokens' ? share.tokens : share.jobs.length);
  let found: Share | null = null;
  for (const share of shares) {
    if (share.isNewcomer !== isNewcomer || share.jobs.length === 0) continue;
    const difference = found === null ? 1 : weight(share) - weight(found);
    if (difference > 0 || (difference === 0 && share.jobs.at(-1)!.lot > found!.jobs.at(-1)!.lot)) found = share;
  }
  return found!;
}
