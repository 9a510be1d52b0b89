// The groups whose bodies are here and that wait for their replay: bounded, and served so that what is done is of use.
// Source: spec/rollouts.md "Order of checks". Newest policy first: when work comes faster than it can be checked, whoever took
// the oldest first would check all of it just before nobody may train on it any more. A data structure: no clock, no I/O.
// Invariants: at most `limits` wait; while others wait newcomers get at most half of the tokens replayed, whichever policy
// they choose to answer for.

import { BATCH_LIMITS, pickBatch } from './batch.ts';
import { groupsToGiveUp, groupTokens, WAITING_LIMITS, type WaitingLimits } from './giving-up.ts';
import { dueTokens, type Job } from './job.ts';

export interface ReplayQueue {
  /** @returns groups that have to be given up for it, perhaps itself */
  add(job: Job): readonly Job[];
  /** policy roots in the order in which they are to be tried */
  policies(): readonly string[];
  /** what waits of a policy, in order of arrival */
  of(policyRoot: string): readonly Job[];
  /** the next batch of a policy, counted against newcomers' half; take it by setting its state */
  take(policyRoot: string): readonly Job[];
  /** due of what waits */
  tokens(): number;
}

/** A queue, empty at first. A job that is final has left it; one that is being replayed may come back. */
export function createReplayQueue(
  isNewcomer: (peer: string) => boolean,
  limits: WaitingLimits = WAITING_LIMITS,
): ReplayQueue {
  let jobs: Job[] = [];
  /** of what was added since the last look: jobs leave without a word */
  let atMost = { groups: 0, tokens: 0 };
  /** tokens that newcomers had more than others, within a batch either way */
  let newcomersAhead = 0;

  const look = (): readonly Job[] => {
    jobs = jobs.filter(({ state }) => state === 'queued' || state === 'replaying');
    const queued = jobs.filter(({ state }) => state === 'queued');
    atMost = { groups: queued.length, tokens: queued.reduce((sum, job) => sum + groupTokens(job), 0) };
    return queued;
  };

  return {
    add(job) {
      jobs.push(job);
      atMost.groups++;
      atMost.tokens += groupTokens(job);
      if (atMost.groups <= limits.maxGroups && atMost.tokens <= limits.maxTokens) return [];
      return groupsToGiveUp(look(), isNewcomer, limits, keepLonger);
    },
    policies() {
      const steps = new Map<string, number>();
      const othersWait = new Set<string>();
      for (const job of look()) {
        steps.set(job.policyRoot, job.announcement.policyStep);
        if (!isNewcomer(job.peer)) othersWait.add(job.policyRoot);
      }
      const newestFirst = [...steps.keys()].sort((a, b) => steps.get(b)! - steps.get(a)!);
      if (newcomersAhead <= 0) return newestFirst;
      return [
        ...newestFirst.filter((root) => othersWait.has(root)),
        ...newestFirst.filter((root) => !othersWait.has(root)),
      ];
    },
    of: (policyRoot) => look().filter((job) => job.policyRoot === policyRoot),
    take(policyRoot) {
      const batch = pickBatch(
        look().filter((job) => job.policyRoot === policyRoot),
        isNewcomer,
      );
      for (const job of batch) newcomersAhead += isNewcomer(job.peer) ? dueTokens(job) : -dueTokens(job);
      newcomersAhead = Math.max(-BATCH_LIMITS.maxTokens, Math.min(BATCH_LIMITS.maxTokens, newcomersAhead));
      return batch;
    },
    tokens: () => look().reduce((sum, job) => sum + dueTokens(job), 0),
  };
}

/** Of one peer's groups the oldest policy's go first: they are of use for the shortest time. Then the lot. */
function keepLonger(a: Job, b: Job): number {
  return b.announcement.policyStep - a.announcement.policyStep || a.lot - b.lot;
}
