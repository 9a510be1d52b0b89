// How much one carrier (the peer that passed messages on to us) may make us check.
// Source: design.md "rate-limit"; gossipsub checks as many messages at once as arrive, so the bound is here.
// Invariant: every place taken is given back by the function that enter() answered.

import type { Clock, PeerIdString } from '../protocol/ports.ts';
import { createRateLimiter, type Rate } from './rate-limit.ts';

/** Messages of any kind from one carrier. */
export const CARRIER_RATE: Rate = { perSecond: 500, burst: 5_000 };
/** Messages of one carrier that are being checked at once. */
const MAX_CHECKS_AT_ONCE = 256;

export interface CarrierGate {
  /** null: too much. Otherwise call the answer when the check is over */
  enter(peer: PeerIdString): (() => void) | null;
}

/** A gate for all carriers. @param rate messages of one carrier */
export function createCarrierGate(components: { readonly clock: Clock }, rate: Rate = CARRIER_RATE): CarrierGate {
  const limiter = createRateLimiter(components.clock, rate);
  const running = new Map<PeerIdString, number>();
  return {
    enter(peer) {
      const now = running.get(peer) ?? 0;
      if (now >= MAX_CHECKS_AT_ONCE || !limiter.take(peer)) return null;
      running.set(peer, now + 1);
      return () => {
        const left = (running.get(peer) ?? 1) - 1;
        if (left > 0) running.set(peer, left);
        else running.delete(peer);
      };
    },
  };
}
