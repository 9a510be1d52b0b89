// The trainer's offer, every five minutes: what it will train, and the heartbeat that keeps its recipes open.
// Source: spec/wire.md "Signed things" and "A recipe is open" (10 minutes without one closes it).

import { errorText } from '../node/protocol/errors.ts';
import { encodeOffer, type TrainerOffer } from '../node/protocol/offer.ts';
import type { Clock, Inbox, Logger, Startable } from '../node/protocol/ports.ts';

const EVERY_MS = 5 * 60_000;

export interface OfferBeat extends Startable {
  /** sends one at once, such as after a recipe was taken */
  beat(): Promise<void>;
}

/** @param init `offer` is asked anew for every beat */
export function createOfferBeat(
  components: { readonly inbox: Inbox; readonly clock: Clock; readonly logger: Logger },
  init: { readonly offer: () => Omit<TrainerOffer, 'timeMs'> },
): OfferBeat {
  const { inbox, clock, logger } = components;
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();

  async function beat(): Promise<void> {
    await inbox.publish('offer', encodeOffer({ ...init.offer(), timeMs: clock.nowMs() }), null);
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await beat().catch((error: unknown) => logger.error({ error: errorText(error) }, 'the offer was not sent'));
      await clock.sleep(EVERY_MS, stopping.signal);
    }
  }

  return {
    beat,
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
