// Slot order: a lane is one peer's groups at one policy step; slot k + 1 waits for the body of slot k.
// Source: spec/rollouts.md "Randomness" (parking, BODY_MISSING). A data structure: no clock, no I/O.
// Invariants: `ready` gives each job once; at most MAX_PARKED jobs of a peer wait behind a gap, and at most `maxGroups` of all peers;
// no slot is looked into whose body, or the body of a slot before it, was passed over.

import type { CheckCode } from '../node/protocol/check.ts';
import { groupsToGiveUp, WAITING_LIMITS, type WaitingLimits } from './giving-up.ts';
import type { Job } from './job.ts';

/** Announcements of one peer that wait for an earlier slot's announcement (spec/rollouts.md). */
export const MAX_PARKED = 16;

export interface Lane {
  readonly peer: string;
  readonly policyStep: number;
  /** the slot whose body is due next */
  next: number;
  readonly waiting: Map<number, Job>;
  /** slots whose bodies passed before their turn was known (after a restart) */
  readonly passed: Set<number>;
  isBusy: boolean;
  /** why nothing of this lane is judged any more */
  closedBy: CheckCode | null;
  /** slots from this one on are not looked into: this one was given up before its body was seen */
  endsAt: number;
  /** when the lane last moved, or got its first job */
  movedMs: number;
}

export interface Lanes {
  /** @returns a code when the job is not taken */
  add(job: Job, nowMs: number): CheckCode | null;
  /** lanes whose next slot is here and that are not busy, longest waiting first */
  ready(): readonly { readonly lane: Lane; readonly job: Job }[];
  /** takes the job of the next slot out */
  take(lane: Lane): Job;
  /** the body of a slot passed stage 1 */
  pass(peer: string, policyStep: number, slot: number, nowMs: number): void;
  /** nothing of the lane is judged any more. @returns the jobs that waited */
  close(peer: string, policyStep: number, code: CheckCode): readonly Job[];
  /** a slot given up before its body was seen, and with it all that come after it */
  endAt(peer: string, policyStep: number, slot: number): void;
  /** jobs that have to be given up for the others, their lanes ended: the last slots of whoever has most of them */
  overflow(isNewcomer: (peer: string) => boolean): readonly Job[];
  /** lanes that have waited for an announcement since before `sinceMs` */
  stalled(sinceMs: number): readonly Lane[];
  /** @returns jobs that still waited in lanes before this step */
  forgetBefore(policyStep: number): readonly Job[];
}

/** No lanes at first. @param init how many announcements may wait for their turn */
export function createLanes(init: Pick<WaitingLimits, 'maxGroups'> = WAITING_LIMITS): Lanes {
  // Their tokens are claims that nobody has looked at yet, and take no memory.
  const limits: WaitingLimits = { ...init, maxTokens: Number.POSITIVE_INFINITY };
  const lanes = new Map<string, Lane>();
  const laneOf = (peer: string, policyStep: number, nowMs: number): Lane => {
    const key = `${peer}/${policyStep}`;
    let lane = lanes.get(key);
    if (lane === undefined) {
      lane = {
        peer,
        policyStep,
        next: 0,
        waiting: new Map(),
        passed: new Set(),
        isBusy: false,
        closedBy: null,
        endsAt: Number.POSITIVE_INFINITY,
        movedMs: nowMs,
      };
      lanes.set(key, lane);
    }
    return lane;
  };
  const parkedOf = (peer: string): number => {
    let parked = 0;
    for (const lane of lanes.values()) if (lane.peer === peer) parked += behindGap(lane);
    return parked;
  };
  const drain = (lane: Lane): readonly Job[] => {
    const jobs = [...lane.waiting.values()];
    lane.waiting.clear();
    return jobs;
  };

  const endAt = (peer: string, policyStep: number, slot: number): void => {
    const lane = laneOf(peer, policyStep, 0);
    lane.endsAt = Math.min(lane.endsAt, slot);
    lane.waiting.delete(slot);
  };

  return {
    add(job, nowMs) {
      const lane = laneOf(job.peer, job.announcement.policyStep, nowMs);
      if (lane.closedBy !== null) return lane.closedBy;
      if (job.announcement.slot >= lane.endsAt) return 'NOT_CHECKED';
      if (lane.waiting.size === 0) lane.movedMs = nowMs;
      lane.waiting.set(job.announcement.slot, job);
      if (behindGap(lane) > 0 && parkedOf(job.peer) > MAX_PARKED) {
        lane.waiting.delete(job.announcement.slot);
        return 'TOO_MANY_PARKED';
      }
      return null;
    },
    ready() {
      const found: { lane: Lane; job: Job }[] = [];
      for (const lane of lanes.values()) {
        const job = lane.isBusy || lane.closedBy !== null ? undefined : lane.waiting.get(lane.next);
        if (job !== undefined) found.push({ lane, job });
      }
      return found.sort((a, b) => a.job.arrivedMs - b.job.arrivedMs);
    },
    take(lane) {
      const job = lane.waiting.get(lane.next)!;
      lane.waiting.delete(lane.next);
      lane.isBusy = true;
      return job;
    },
    pass(peer, policyStep, slot, nowMs) {
      const lane = laneOf(peer, policyStep, nowMs);
      lane.passed.add(slot);
      while (lane.passed.delete(lane.next)) lane.next++;
      lane.movedMs = nowMs;
    },
    close(peer, policyStep, code) {
      const lane = laneOf(peer, policyStep, 0);
      lane.closedBy ??= code;
      return drain(lane);
    },
    endAt,
    overflow(isNewcomer) {
      let groups = 0;
      for (const lane of lanes.values()) groups += lane.waiting.size;
      if (groups <= limits.maxGroups) return [];
      const waiting = [...lanes.values()].flatMap((lane) => [...lane.waiting.values()]);
      const givenUp = groupsToGiveUp(waiting, isNewcomer, limits, earlierSlotFirst);
      for (const { peer, announcement } of givenUp) endAt(peer, announcement.policyStep, announcement.slot);
      return givenUp;
    },
    stalled: (sinceMs) =>
      [...lanes.values()].filter(
        (lane) => !lane.isBusy && lane.waiting.size > 0 && !lane.waiting.has(lane.next) && lane.movedMs < sinceMs,
      ),
    forgetBefore(policyStep) {
      const jobs: Job[] = [];
      for (const [key, lane] of lanes) {
        if (lane.policyStep >= policyStep) continue;
        jobs.push(...drain(lane));
        lanes.delete(key);
      }
      return jobs;
    },
  };
}

/** A lane ends where a slot of it is given up, so the last goes first; of several steps the oldest. */
function earlierSlotFirst(a: Job, b: Job): number {
  const [one, two] = [a.announcement, b.announcement];
  return two.policyStep - one.policyStep || one.slot - two.slot;
}

/** Jobs that come after a slot whose announcement is not here. */
function behindGap(lane: Lane): number {
  let contiguous = 0;
  // The slot being fetched is not in `waiting`, and is no gap.
  let slot = lane.isBusy ? lane.next + 1 : lane.next;
  while (lane.waiting.has(slot) || lane.passed.has(slot)) {
    if (lane.waiting.has(slot)) contiguous++;
    slot++;
  }
  return lane.waiting.size - contiguous;
}
