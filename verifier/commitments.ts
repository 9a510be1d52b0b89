// Which verifier stands behind a sampling secret, and the secret once it was shown.
// Source: spec/rollouts.md "Order of checks" (the hash is signed and gossiped before the step opens). Every verdict names the hash,
// so a verdict that somebody else signs again is told from its author's: the first that committed to it.
// Invariant: one hash a verifier and step, the first; with several it could choose afterwards what it had to look at. In memory,
// forgets by step.

import { toHex } from '../node/protocol/bytes.ts';
import type { PeerIdString } from '../node/protocol/ports.ts';
import type { StepSecret } from '../node/protocol/secret.ts';
import type { Verdict } from '../node/protocol/verdict.ts';
import { LATE_STEPS } from './checks/stage-zero.ts';
import { createRoom } from './room.ts';
import type { VerifierStandings } from './verifier-standing.ts';

/** In all, and of one verifier: more steps than stage 0 lets through at a time. Our own. */
const MAX_KEPT = 16_384;
const MAX_EACH = 64;

/** The secret that a verdict names. */
export type NamedSecret = Pick<Verdict, 'policyStep' | 'secretHash'>;

export interface Commitments {
  /** @returns whether this showed a secret that was not known */
  hear(verifier: PeerIdString, secret: StepSecret): boolean;
  /** whether the secret that a verdict names is this verifier's own */
  areOf(verifier: PeerIdString, named: NamedSecret): boolean;
  /** the secret itself, null while it is not shown */
  secretOf(named: NamedSecret): Uint8Array | null;
  /** @param policyStep the oldest within maxLag */
  forgetBefore(policyStep: number): void;
}

interface Commitment {
  readonly policyStep: number;
  /** hex */
  readonly secretHash: string;
  secret: Uint8Array | null;
}

/** None at first. */
export function createCommitments({ isStranger }: Pick<VerifierStandings, 'isStranger'>): Commitments {
  const room = createRoom<Commitment>({ max: MAX_KEPT, maxEach: MAX_EACH, isStranger });
  const to = ({ policyStep, secretHash }: NamedSecret): readonly (readonly [PeerIdString, Commitment])[] => {
    const hash = toHex(secretHash);
    return [...room.on(String(policyStep))].filter(([, commitment]) => commitment.secretHash === hash);
  };
  return {
    hear(verifier, { policyStep, secretHash, secret }) {
      const hash = toHex(secretHash);
      room.add(verifier, String(policyStep), { policyStep, secretHash: hash, secret: null });
      const commitment = room.on(String(policyStep)).get(verifier);
      if (secret === null || commitment?.secretHash !== hash || commitment.secret !== null) return false;
      commitment.secret = secret;
      return true;
    },
    areOf: (verifier, named) => to(named)[0]?.[0] === verifier,
    secretOf: (named) => to(named).find(([, { secret }]) => secret !== null)?.[1].secret ?? null,
    forgetBefore: (policyStep) => room.forget((commitment) => commitment.policyStep < policyStep - LATE_STEPS),
  };
}
