// Which verifier stands behind a sampling secret: the first that committed to its hash.
// Source: spec/rollouts.md "Order of checks" (the hash is signed and gossiped before the step opens). Every verdict names the hash,
// so a verdict that somebody else signs again is told from its author's. In memory, forgets by step.

import { toHex } from '../node/protocol/bytes.ts';
import type { PeerIdString } from '../node/protocol/ports.ts';
import type { StepSecret } from '../node/protocol/secret.ts';
import type { Verdict } from '../node/protocol/verdict.ts';
import { LATE_STEPS } from './checks/stage-zero.ts';

export interface Commitments {
  hear(verifier: PeerIdString, secret: StepSecret): void;
  /** whether the secret that a verdict names is this verifier's own */
  areOf(verifier: PeerIdString, verdict: Verdict): boolean;
  /** @param policyStep the oldest within maxLag */
  forgetBefore(policyStep: number): void;
}

/** None at first. */
export function createCommitments(): Commitments {
  const first = new Map<string, { readonly verifier: PeerIdString; readonly policyStep: number }>();
  return {
    hear(verifier, { secretHash, policyStep }) {
      const hash = toHex(secretHash);
      if (!first.has(hash)) first.set(hash, { verifier, policyStep });
    },
    areOf: (verifier, { secretHash }) => first.get(toHex(secretHash))?.verifier === verifier,
    forgetBefore(policyStep) {
      for (const [hash, commitment] of first) {
        if (commitment.policyStep < policyStep - LATE_STEPS) first.delete(hash);
      }
    },
  };
}
