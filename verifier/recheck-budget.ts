// How much of a verifier's time others may claim by rejecting: tokens a verifier and policy step.
// Source: design.md "Who trusts what" ("at most a budget of tokens a verifier and step"). Keys cost nothing, so all who were
// never confirmed share one pool.

import type { PeerIdString } from '../node/protocol/ports.ts';

/** Some 50 ms of a small model's prefill. Our own. */
export const RECHECK_TOKENS = 16_384;
/** The pool of verifiers that were never confirmed, in budgets. Our own. */
const STRANGERS_SHARE = 4;

export interface RecheckBudget {
  /** Takes tokens of this step. @returns false when they are used up; a verifier's first recheck of a step is never too long */
  take(verifier: PeerIdString, isStranger: boolean, tokens: number, policyStep: number): boolean;
  /** takes what is left of a verifier's budget of this step */
  useUp(verifier: PeerIdString, isStranger: boolean, policyStep: number): void;
}

/** @param tokens a verifier and step */
export function createRecheckBudget(tokens: number = RECHECK_TOKENS): RecheckBudget {
  const used = new Map<PeerIdString, number>();
  let strangers = 0;
  let step = -1;
  const usedAt = (policyStep: number, verifier: PeerIdString): number => {
    if (policyStep !== step) {
      used.clear();
      strangers = 0;
      step = policyStep;
    }
    return used.get(verifier) ?? 0;
  };
  return {
    take(verifier, isStranger, wanted, policyStep) {
      const own = usedAt(policyStep, verifier);
      if (own > 0 && own + wanted > tokens) return false;
      if (isStranger && strangers > 0 && strangers + wanted > STRANGERS_SHARE * tokens) return false;
      used.set(verifier, own + wanted);
      if (isStranger) strangers += wanted;
      return true;
    },
    useUp(verifier, isStranger, policyStep) {
      const own = usedAt(policyStep, verifier);
      used.set(verifier, Math.max(own, tokens));
      if (isStranger) strangers += Math.max(0, tokens - own);
    },
  };
}
