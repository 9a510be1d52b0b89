// How much one carrier (the peer that passed messages on to us) may make us check.
// The figures are our own. Gossipsub checks as many messages at once as arrive, so the bound is here.
// Whoever checks as we do passes on only what he accepted: what every node ignores alike is its carrier's own, of which he
// may bring little. What depends on who sees it (order of arrival, standing, a policy that is still on its way) is not held
// against him: honest carriers bring that too.
// Invariants: whether a message is admitted is decided before anything of it is looked at; every place taken is given back.

import type { CheckAnswer, CheckCode } from '../protocol/check.ts';
import type { Clock, PeerIdString } from '../protocol/ports.ts';
import { createRateLimiter, type Rate, type RateLimiter } from './rate-limit.ts';

/** Messages of any kind from one carrier, copies included. */
export const CARRIER_RATE: Rate = { perSecond: 500, burst: 5_000 };
/**
 * Messages of one carrier that nobody passes on who checks them; beyond it, it is not listened to. Our own: an honest one has
 * such for the moment in which one of us knows a new policy and the other does not.
 */
const IDLE_RATE: Rate = { perSecond: 20, burst: 200 };
/** What a new carrier may bring at once, as a share of the bursts: a new name must not be worth much. */
const NEW_SHARE = 0.1;
/** Messages of one carrier that are being checked at once. */
const MAX_CHECKS_AT_ONCE = 256;

/** Ignored by every node alike, or at most for moments not. */
const IDLE_CODES: ReadonlySet<CheckCode> = new Set([
  'WRONG_NETWORK',
  'TOO_OLD',
  'SIZE_MISMATCH',
  'SLOT_OUT_OF_RANGE',
  'ROOT_REPEATED',
  'NOT_A_TRAINER',
  'NOT_THE_AUTHOR',
  'TOO_MANY_PARKED',
]);

export interface CarrierGate {
  /** how many of the `count` messages that a peer brings may come in; they are paid for */
  admit(peer: PeerIdString, count: number): number;
  /** whether it brought no more than it may of what nobody passes on */
  isHeard(peer: PeerIdString): boolean;
  /** takes a place for a check; false: it has too many */
  enter(peer: PeerIdString): boolean;
  leave(peer: PeerIdString): void;
  /** notes what became of a carrier's message */
  settle(peer: PeerIdString, answer: CheckAnswer): void;
}

/** A gate for all carriers. @param rate messages of one carrier */
export function createCarrierGate(components: { readonly clock: Clock }, rate: Rate = CARRIER_RATE): CarrierGate {
  const limiterOf = (each: Rate): RateLimiter =>
    createRateLimiter(components.clock, { ...each, initial: NEW_SHARE * each.burst });
  const [messages, idle] = [limiterOf(rate), limiterOf(IDLE_RATE)];
  const running = new Map<PeerIdString, number>();
  return {
    admit(peer, count) {
      if (!idle.has(peer)) return 0;
      const admitted = Math.min(count, Math.floor(messages.left(peer)));
      messages.take(peer, admitted);
      return admitted;
    },
    isHeard: (peer) => idle.has(peer),
    enter(peer) {
      const now = running.get(peer) ?? 0;
      if (now >= MAX_CHECKS_AT_ONCE) return false;
      running.set(peer, now + 1);
      return true;
    },
    leave(peer) {
      const left = (running.get(peer) ?? 1) - 1;
      if (left > 0) running.set(peer, left);
      else running.delete(peer);
    },
    settle(peer, answer) {
      if (answer.answer === 'ignore' && IDLE_CODES.has(answer.code)) idle.charge(peer, 1);
    },
  };
}
