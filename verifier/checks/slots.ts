// Which slots of which peers were announced, and how far each peer's policy step has gone. Memory only; forgets by lag.
// Source: spec/rollouts.md "Order of checks" (two bodies for one slot; rate) and "Randomness" (slots, STEP_BACKWARD).
// Keys cost nothing, so a step has a number of places, and as many again for peers that are known: whoever stores, checks or trains
// sees nothing but what took a place here. A key may take one while it holds fewer than are free: one key takes half, n keys
// n/(n + 1) of them, so that a few that take all they can leave some to who comes later. A crowd of strangers leaves none to strangers.
// Invariants: at most two announcements of one slot are let through: the second, of another body, is evidence for all, and
// needs no place; no more slots of a step than it has places; strangers take none from who is known.

import type { CheckAnswer } from '../../node/protocol/check.ts';
import { ACCEPT, ignore } from '../../node/protocol/check.ts';
import type { Recipe } from '../../recipes/schema.ts';

/**
 * Announcements overtake each other on their way. A step counts as left behind once the next was seen this long ago.
 * Our own: gossip repairs a lost message within a few heartbeats of 1 s.
 */
export const REORDER_GRACE_MS = 10_000;

/**
 * Slots of one policy step, of strangers and again of known peers. Our own: twice what waits at most (giving-up.ts); with one slot
 * a key, each costs 4 kB of memory in a verifier and 2.5 kB in a trainer (measured, without bodies).
 */
export const MIN_PLACES = 8_192;
/** Per useful group of a step: more than a trainer ever asks for in the long run, one in ten of its groups being useful. */
const PLACES_PER_PROMPT = 16;

/** Places of a recipe's steps. */
export function placesOf({ grpo }: Pick<Recipe, 'grpo'>): number {
  return Math.max(MIN_PLACES, PLACES_PER_PROMPT * grpo.promptsPerStep);
}

/** What the register needs of an announcement. */
export interface SlotClaim {
  readonly peer: string;
  readonly policyStep: number;
  readonly slot: number;
  readonly groupIdHex: string;
  readonly bodyHashHex: string;
  /** its groups were found good before: no crowd of new keys takes its place */
  readonly isKnown: boolean;
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

/** Places that are taken of a step. */
interface Taken {
  known: number;
  strangers: number;
}

/** A register of one recipe's slots, empty at first. @param init `places`: of a step, default MIN_PLACES */
export function createSlotRegister({ places = MIN_PLACES }: { readonly places?: number } = {}): SlotRegister {
  const peers = new Map<string, PeerSlots>();
  const taken = new Map<number, Taken>();
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
      if (claims.length > 0) return ACCEPT;
      const held = peer?.steps.get(claim.policyStep)?.size ?? 0;
      const left = places - (taken.get(claim.policyStep)?.[kindOf(claim)] ?? 0);
      return held < left ? ACCEPT : ignore('RATE_LIMITED', { measured: held, limit: left });
    },
    note(claim, nowMs) {
      const claims = claimsOf(claim);
      if (claims.some((each) => each.groupIdHex === claim.groupIdHex)) return;
      if (claims.length === 0) getOrMake(taken, claim.policyStep, () => ({ known: 0, strangers: 0 }))[kindOf(claim)]++;
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
      for (const step of taken.keys()) if (step < policyStep) taken.delete(step);
    },
  };
}

function kindOf({ isKnown }: SlotClaim): keyof Taken {
  return isKnown ? 'known' : 'strangers';
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
