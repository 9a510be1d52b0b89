// The peers whose groups the recipe's own verifiers and trainers accepted: who is known where nobody keeps a standing.
// Source: spec/rollouts.md "Order of checks" (probation). In memory; what it says costs nobody anything but a place (checks/places.ts).
// Invariants: only keys that the recipe names speak; a rejection takes all; MAX_KEPT peers, the one accepted longest ago leaves.

import { toHex } from '../node/protocol/bytes.ts';
import { peerIdStringOf } from '../node/protocol/keys.ts';
import type { SignedMessage } from '../node/protocol/ports.ts';
import { decodeVerdict } from '../node/protocol/verdict.ts';
import type { Recipe } from '../recipes/schema.ts';
import { TRUST_HALF_LIFE_STEPS } from './standing.ts';

/** Peers that are remembered. Our own. */
export const MAX_KEPT = 16_384;

export interface AcceptedPeers {
  /** a verdict of anybody that passed stage 0 */
  hear(message: SignedMessage): void;
  /** as many of its groups were accepted as probation takes, the last not long ago */
  isKnown(peer: string): boolean;
}

interface Accepted {
  readonly groups: number;
  /** of the newest: several verifiers judge each group, it counts once */
  readonly policyStep: number;
  readonly slot: number;
}

/** Hex keys whose verdicts a recipe vouches for: its verifiers' and its trainers'. */
export function namedKeys({ verification, trainers }: Pick<Recipe, 'verification' | 'trainers'>): readonly string[] {
  return [...verification.verifiers, ...trainers];
}

/** Nobody at first. */
export function createAcceptedPeers({
  verification,
  trainers,
}: Pick<Recipe, 'verification' | 'trainers'>): AcceptedPeers {
  const named = new Set(namedKeys({ verification, trainers }));
  const needed = Math.max(1, verification.probationGroups);
  const peers = new Map<string, Accepted>();
  let newestStep = 0;
  return {
    hear(message) {
      if (!named.has(toHex(message.publicKey))) return;
      const { answer, policyStep, slot, peerId } = decodeVerdict(message.payload);
      if (answer === 'ignore') return;
      const peer = peerIdStringOf(peerId);
      const before = peers.get(peer) ?? { groups: 0, policyStep: -1, slot: -1 };
      peers.delete(peer);
      if (answer === 'reject') return;
      newestStep = Math.max(newestStep, policyStep);
      const isNew = policyStep > before.policyStep || (policyStep === before.policyStep && slot > before.slot);
      peers.set(peer, isNew ? { groups: before.groups + 1, policyStep, slot } : before);
      if (peers.size > MAX_KEPT) peers.delete(peers.keys().next().value!);
    },
    isKnown(peer) {
      const accepted = peers.get(peer);
      if (accepted === undefined || accepted.groups < needed) return false;
      return newestStep - accepted.policyStep < TRUST_HALF_LIFE_STEPS;
    },
  };
}
