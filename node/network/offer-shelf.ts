// The offers of trainers that are kept: of each the newest, of not more than MAX_OFFERS, none for longer than OFFER_MAX_AGE_MS.
// Source: spec/wire.md, kind "trainer offer" (every 5 minutes). Left out: dropping them on time alone, an old one goes with the next
// that comes or at the next start. Keys cost nothing: a crowd of them pushes out the offers of others until they are repeated.
// Invariant: what lies in the store is what is on the shelf, once `open` was through.

import { decodeOffer } from '../protocol/offer.ts';
import type { Clock, Logger, PeerIdString, SignedMessage } from '../protocol/ports.ts';
import type { InboxStore } from './inbox-store.ts';

/** Offers kept. Our own. */
export const MAX_OFFERS = 1_024;
/** Two offers of an open trainer; one that was not repeated for so long says nothing any more. Source: spec/wire.md "A recipe is open". */
export const OFFER_MAX_AGE_MS: number = 10 * 60_000;

export interface OfferShelf {
  /** what earlier runs stored */
  open(): Promise<void>;
  /** an offer that was stored; what it replaces is deleted */
  put(message: SignedMessage): Promise<void>;
}

interface Kept {
  readonly message: SignedMessage;
  readonly timeMs: number;
  readonly heardMs: number;
}

/** Nothing at first. */
export function createOfferShelf(components: {
  readonly store: Pick<InboxStore, 'read' | 'delete'>;
  readonly clock: Clock;
  readonly logger: Logger;
}): OfferShelf {
  const { store, clock, logger } = components;
  /** by signer, the one heard longest ago first */
  const shelf = new Map<PeerIdString, Kept>();

  const isOld = (heardMs: number): boolean => clock.nowMs() - heardMs >= OFFER_MAX_AGE_MS;

  /** @returns what is not to be kept any more */
  function take({ message, timeMs, heardMs }: Kept): readonly SignedMessage[] {
    if (isOld(heardMs)) return [message];
    const before = shelf.get(message.peerIdString);
    if (before?.message.idHex === message.idHex) return [];
    if (before !== undefined && before.timeMs > timeMs) return [message];
    shelf.delete(message.peerIdString);
    shelf.set(message.peerIdString, { message, timeMs, heardMs });
    const gone = before === undefined ? [] : [before.message];
    for (const [signer, oldest] of shelf) {
      if (shelf.size <= MAX_OFFERS && !isOld(oldest.heardMs)) break;
      shelf.delete(signer);
      gone.push(oldest.message);
    }
    return gone;
  }

  async function keep(offer: Kept): Promise<void> {
    try {
      for (const message of take(offer)) await store.delete(message, null);
    } catch (error) {
      logger.warn({ error: String(error) }, 'could not delete an old offer');
    }
  }

  return {
    async open() {
      for await (const { message } of store.read('offer', null)) {
        // When it came is not kept.
        const timeMs = offerTimeMs(message);
        await keep({ message, timeMs, heardMs: Math.min(timeMs, clock.nowMs()) });
      }
    },
    put: (message) => keep({ message, timeMs: offerTimeMs(message), heardMs: clock.nowMs() }),
  };
}

/** -1 for an offer that no check looked at and that is none. */
function offerTimeMs(message: SignedMessage): number {
  try {
    return decodeOffer(message.payload).timeMs;
  } catch {
    return -1;
  }
}
