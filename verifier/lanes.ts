// Slot order: a lane is one peer's groups at one policy step; slot k + 1 waits for the body of slot k.
// Source: spec/rollouts.md "Randomness" (parking, BODY_MISSING). A data structure: no clock, no I/O.
// Invariant: `ready` gives each job once; at most MAX_PARKED jobs of a peer wait behind a gap.

import type { CheckCode } from '../node/protocol/check.ts';
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
  /** lanes that have waited for an announcement since before `sinceMs` */
  stalled(sinceMs: number): readonly Lane[];
  /** @returns jobs that still waited in lanes before this step */
  forgetBefore(policyStep: number): readonly Job[];
  stepsOf(peer: string): readonly number[];
}

/** No lanes at first. */
export function createLanes(): Lanes {
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

  return {
    add(job, nowMs) {
      const lane = laneOf(job.peer, job.announcement.policyStep, nowMs);
      if (lane.closedBy !== null) return lane.closedBy;
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
    stepsOf: (peer) => [...lanes.values()].filter((lane) => lane.peer === peer).map((lane) => lane.policyStep),
  };
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
