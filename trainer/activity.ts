// Which keys bring groups: those whose newest that was found good is of one of the last policy steps. What is only announced
// says nothing: a key and an announcement cost nothing.
// Source: spec/wire.md "Enough, not too much". Invariant: what it keeps is as many keys as brought groups of steps still kept.

import { lagOf } from './batch.ts';

/** A peer counts as active for this many steps after its last group, and never longer than its groups are of use. */
const ACTIVE_STEPS = 3;

export interface Activity {
  /** a group of this peer was found good */
  note(peer: string, policyStep: number): void;
  has(peer: string, policyStep: number): boolean;
  /** @param isLeftOut keys that do not count */
  count(policyStep: number, isLeftOut: (peer: string) => boolean): number;
  /** lets go of keys whose last group is of a step below this */
  forget(belowStep: number): void;
}

export function createActivity({ maxLagSteps }: { readonly maxLagSteps: number }): Activity {
  const activeSteps = Math.max(1, Math.min(ACTIVE_STEPS, maxLagSteps));
  /** key to the step of its newest group */
  const last = new Map<string, number>();
  const has = (peer: string, policyStep: number): boolean => {
    const step = last.get(peer);
    return step !== undefined && lagOf({ policyStep: step }, policyStep) <= activeSteps;
  };
  return {
    note: (peer, policyStep) => void last.set(peer, Math.max(policyStep, last.get(peer) ?? 0)),
    has,
    count: (policyStep, isLeftOut) =>
      [...last.keys()].filter((peer) => has(peer, policyStep) && !isLeftOut(peer)).length,
    forget(belowStep) {
      for (const [peer, step] of last) if (step < belowStep) last.delete(peer);
    },
  };
}
