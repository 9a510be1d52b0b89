// Which slots of which peers were announced, and how far each peer's policy step has gone. Memory only; forgets by lag.
// Source: spec/rollouts.md "Order of checks" (two bodies for one slot; rate) and "Randomness" (slots, STEP_BACKWARD).
// Invariants: at most two announcements of one slot are let through: the second, of another body, is evidence for all, and
// needs no place; a first takes a place of its step (places.ts).

import { ACCEPT, type CheckAnswer, ignore } from '../../node/protocol/check.ts';
import { createPlaces, type PlaceClaim } from './places.ts';

/**
 * Announcements overtake each other on their way. A step counts as left behind once the next was seen this long ago.
 * Our own: gossip repairs a lost message within a few heartbeats of 1 s.
 */
export const REORDER_GRACE_MS = 10_000;

/** What the register needs of an announcement. */
export interface SlotClaim extends PlaceClaim {
  readonly slot: number;
  readonly groupIdHex: string;
  readonly bodyHashHex: string;
}

export interface SlotRegister {
  /** [IGNORE] SLOT_SEEN, STEP_BACKWARD, RATE_LIMITED (no place); asking changes nothing */
  ask(claim: SlotClaim, nowMs: number): CheckAnswer;
  /** notes an announcement that passed all of stage 0 */
  note(claim: SlotClaim, nowMs: number): void;
  /** forgets steps before this one */
  forgetBefore(policyStep: number): void;
}

interface Claimed {
  readonly groupIdHex: string;
  readonly bodyHashHex: string;
}

interface PeerSlots {
  highestStep: number;
  /** when a step above the others was first seen, by step */
  readonly firstSeenMs: Map<number, number>;
  readonly steps: Map<number, Map<number, Claimed[]>>;
}

/** A register of one recipe's slots, empty at first. @param placesOfStep default MIN_PLACES */
export function createSlotRegister(placesOfStep?: number): SlotRegister {
  const peers = new Map<string, PeerSlots>();
  const places = createPlaces(placesOfStep);
  const claimsOf = ({ peer, policyStep, slot }: SlotClaim): Claimed[] =>
    peers.get(peer)?.steps.get(policyStep)?.get(slot) ?? [];

  return {
    ask(claim, nowMs) {
      const claims = claimsOf(claim);
      if (claims.some((each) => each.groupIdHex === claim.groupIdHex)) return ACCEPT;
      if (claims.length >= 2 || claims.some((each) => each.bodyHashHex === claim.bodyHashHex))
        return ignore('SLOT_SEEN');
      const peer = peers.get(claim.peer);
      if (peer !== undefined && isLeftBehind(peer, claim.policyStep, nowMs)) {
        return ignore('STEP_BACKWARD', { measured: claim.policyStep, limit: peer.highestStep });
      }
      return claims.length > 0 ? ACCEPT : places.ask(claim);
    },
    note(claim, nowMs) {
      const claims = claimsOf(claim);
      if (claims.some((each) => each.groupIdHex === claim.groupIdHex)) return;
      if (claims.length === 0) places.take(claim);
      const peer = getOrMake(peers, claim.peer, () => ({ highestStep: -1, firstSeenMs: new Map(), steps: new Map() }));
      if (!peer.firstSeenMs.has(claim.policyStep)) peer.firstSeenMs.set(claim.policyStep, nowMs);
      peer.highestStep = Math.max(peer.highestStep, claim.policyStep);
      const step = getOrMake(peer.steps, claim.policyStep, () => new Map<number, Claimed[]>());
      const { groupIdHex, bodyHashHex } = claim;
      getOrMake(step, claim.slot, () => [] as Claimed[]).push({ groupIdHex, bodyHashHex });
    },
    forgetBefore(policyStep) {
      for (const [name, peer] of peers) {
        for (const step of peer.steps.keys()) if (step < policyStep) peer.steps.delete(step);
        for (const step of peer.firstSeenMs.keys()) if (step < policyStep) peer.firstSeenMs.delete(step);
        if (peer.steps.size === 0) peers.delete(name);
      }
      places.forgetBefore(policyStep);
    },
  };
}

function isLeftBehind(peer: PeerSlots, policyStep: number, nowMs: number): boolean {
  for (const [step, seenMs] of peer.firstSeenMs) {
    if (step > policyStep && nowMs - seenMs > REORDER_GRACE_MS) return true;
  }
  return false;
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
