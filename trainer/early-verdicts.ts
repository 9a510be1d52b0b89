// Verdicts of groups that are not announced here yet. Invariant: the groups they are of are bounded; the oldest leave first.

import type { Verdict } from '../node/protocol/verdict.ts';
import type { Signer } from './acceptance.ts';

const MAX_GROUPS = 4_096;

export interface EarlyVerdict {
  readonly signer: Signer;
  readonly verdict: Verdict;
}

export interface EarlyVerdicts {
  keep(groupId: string, early: EarlyVerdict): void;
  /** those of a group, in the order they came; they are kept no longer */
  take(groupId: string): readonly EarlyVerdict[];
}

export function createEarlyVerdicts(): EarlyVerdicts {
  const ofGroup = new Map<string, readonly EarlyVerdict[]>();
  return {
    keep(groupId, early) {
      ofGroup.set(groupId, [...(ofGroup.get(groupId) ?? []), early]);
      if (ofGroup.size > MAX_GROUPS) ofGroup.delete(ofGroup.keys().next().value!);
    },
    take(groupId) {
      const taken = ofGroup.get(groupId) ?? [];
      ofGroup.delete(groupId);
      return taken;
    },
  };
}
