// Which peers a trainer leaves out, from the rejections of verifiers whose verdicts count here.
// Source: spec/rollouts.md "Limits have two sides": a failed exact check quarantines at once, a numerical one only the second
// time during probation. Thin: kept in memory, and built again from the stored verdicts after a restart.
// Invariant: what is kept are keys that were rejected not long ago; when a quarantine is over, a new key is worth as much.

import { type CheckCode, NUMERICAL_CODES } from '../node/protocol/check.ts';

/** A second chance ends when nothing of its peer was rejected for so many steps: as long as a verifier remembers one (its standing.ts). */
export const SECOND_CHANCE_STEPS = 100;

export interface Quarantine {
  rejected(peer: string, code: CheckCode, policyStep: number): void;
  accepted(peer: string): void;
  holds(peer: string, policyStep: number): boolean;
  /** lets go of keys whose quarantine is over, and of second chances long past */
  forget(policyStep: number): void;
}

/** @param settings the recipe's `verification` */
export function createQuarantine(settings: {
  readonly probationGroups: number;
  readonly quarantineSteps: number;
}): Quarantine {
  /** peers with one numerical rejection, how many groups they still have to pass, and since when */
  const secondChance = new Map<string, { readonly left: number; readonly policyStep: number }>();
  const untilStep = new Map<string, number>();
  return {
    rejected(peer, code, policyStep) {
      const isFirst = NUMERICAL_CODES.has(code) && !secondChance.has(peer);
      secondChance.set(peer, { left: Math.max(1, settings.probationGroups), policyStep });
      if (!isFirst) untilStep.set(peer, policyStep + settings.quarantineSteps);
    },
    accepted(peer) {
      const chance = secondChance.get(peer);
      if (chance === undefined) return;
      if (chance.left > 1) secondChance.set(peer, { ...chance, left: chance.left - 1 });
      else secondChance.delete(peer);
    },
    holds: (peer, policyStep) => policyStep <= (untilStep.get(peer) ?? -1),
    forget(policyStep) {
      for (const [peer, until] of untilStep) {
        if (until >= policyStep) continue;
        untilStep.delete(peer);
        secondChance.delete(peer);
      }
      for (const [peer, chance] of secondChance) {
        if (!untilStep.has(peer) && policyStep - chance.policyStep >= SECOND_CHANCE_STEPS) secondChance.delete(peer);
      }
    },
  };
}
