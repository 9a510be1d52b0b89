// Messages that came before what they build on: a group before its manifest, a manifest before its recipe or parent.
// Invariants: bounded by scope, by signer and by age, so that nobody fills it; each message is held once.

import type { CheckCode } from '../protocol/check.ts';
import { messageKey } from '../protocol/envelope.ts';
import type { Clock, SignedMessage } from '../protocol/ports.ts';

export const MAX_PARKED_PER_SCOPE: number = 256;
export const MAX_PARKED_PER_SIGNER: number = 16;
const MAX_SCOPES = 64;
const MAX_AGE_MS = 10 * 60_000;

/** The answers that time may change. */
export const WORTH_WAITING: readonly CheckCode[] = ['UNKNOWN_ROOT', 'UNKNOWN_RECIPE', 'PARENT_UNKNOWN', 'EQUIVOCATION'];

export interface Parked {
  readonly message: SignedMessage;
  readonly scope: string | null;
  readonly code: CheckCode;
  readonly atMs: number;
}

export interface ParkingLot {
  /** false when there is no room */
  park(message: SignedMessage, scope: string | null, code: CheckCode): boolean;
  /** takes all of a scope out, oldest first; those too old are dropped */
  takeAll(scope: string | null): readonly Parked[];
  size(): number;
}

/** @param components.onExpired told of each message that waited in vain */
export function createParkingLot(components: {
  readonly clock: Clock;
  readonly onExpired: (parked: Parked) => void;
}): ParkingLot {
  const lots = new Map<string, Map<string, Parked>>();

  function dropExpired(lot: Map<string, Parked>): void {
    const oldestMs = components.clock.nowMs() - MAX_AGE_MS;
    for (const [key, parked] of lot) {
      if (parked.atMs >= oldestMs) break;
      lot.delete(key);
      components.onExpired(parked);
    }
  }

  function lotOf(scope: string | null): Map<string, Parked> | null {
    const name = scope ?? '';
    const known = lots.get(name);
    if (known !== undefined) return known;
    if (lots.size >= MAX_SCOPES) return null;
    const lot = new Map<string, Parked>();
    lots.set(name, lot);
    return lot;
  }

  return {
    park(message, scope, code) {
      const lot = lotOf(scope);
      if (lot === null) return false;
      dropExpired(lot);
      const key = messageKey(message);
      if (lot.has(key)) return true;
      if (lot.size >= MAX_PARKED_PER_SCOPE) return false;
      let ofSigner = 0;
      for (const parked of lot.values()) if (parked.message.peerIdString === message.peerIdString) ofSigner++;
      if (ofSigner >= MAX_PARKED_PER_SIGNER) return false;
      lot.set(key, { message, scope, code, atMs: components.clock.nowMs() });
      return true;
    },
    takeAll(scope) {
      const lot = lots.get(scope ?? '');
      if (lot === undefined) return [];
      dropExpired(lot);
      lots.delete(scope ?? '');
      return [...lot.values()];
    },
    size: () => [...lots.values()].reduce((sum, lot) => sum + lot.size, 0),
  };
}
