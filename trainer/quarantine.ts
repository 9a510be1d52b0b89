// Which peers a trainer leaves out, from the rejections of verifiers whose verdicts count here.
// Source: spec/rollouts.md "Limits have two sides": a failed exact check quarantines at once, a numerical one only the second
// time during probation. Thin: kept in memory, and built again from the stored verdicts after a restart.

import { type CheckCode, NUMERICAL_CODES } from '../node/protocol/check.ts';

export interface Quarantine {
  rejected(peer: string, code: CheckCode, policyStep: number): void;
  accepted(peer: string): void;
  holds(peer: string, policyStep: number): boolean;
}

/** @param settings the recipe's `verification` */
export function createQuarantine(settings: {
  readonly probationGroups: number;
  readonly quarantineSteps: number;
}): Quarantine {
  /** peers with one numerical rejection, and how many groups they still have to pass */
  const secondChance = new Map<string, number>();
  const untilStep = new Map<string, number>();
  return {
    rejected(peer, code, policyStep) {
      const isFirst = NUMERICAL_CODES.has(code) && !secondChance.has(peer);
      secondChance.set(peer, Math.max(1, settings.probationGroups));
      if (!isFirst) untilStep.set(peer, policyStep + settings.quarantineSteps);
    },
    accepted(peer) {
      const left = secondChance.get(peer);
      if (left === undefined) return;
      if (left > 1) secondChance.set(peer, left - 1);
      else secondChance.delete(peer);
    },
    holds: (peer, policyStep) => policyStep <= (untilStep.get(peer) ?? -1),
  };
}
