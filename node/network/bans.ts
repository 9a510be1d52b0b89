// Bans over a restart: what keeps a peer away for half an hour is on disk while it lasts.
// Invariant: a ban that is over is not taken up again, and its record goes at the next start.

import { fromUtf8, utf8 } from '../protocol/bytes.ts';
import { errorText } from '../protocol/errors.ts';
import type { Clock, Logger, Records, Startable } from '../protocol/ports.ts';
import type { Ban, Standing } from './standing.ts';

export interface BansComponents {
  readonly standing: Standing;
  /** key: peer id */
  readonly records: Records;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Takes up the bans of earlier runs when started, and keeps those that come. */
export function createBans({ standing, records, clock, logger }: BansComponents): Startable {
  const writing = new Set<Promise<void>>();
  let unlisten: (() => void) | null = null;

  function keep({ peer, why, untilMs }: Ban): void {
    const written = records
      .put(peer, utf8(JSON.stringify({ why, untilMs })))
      .catch((error: unknown) => logger.warn({ peer, error: errorText(error) }, 'a ban was not kept on disk'))
      .finally(() => writing.delete(written));
    writing.add(written);
  }

  return {
    async start() {
      const over: [string, null][] = [];
      for await (const [peer, value] of records.entries()) {
        const { why, untilMs } = JSON.parse(fromUtf8(value)) as Omit<Ban, 'peer'>;
        if (untilMs > clock.nowMs()) standing.restore({ peer, why, untilMs });
        else over.push([peer, null]);
      }
      await records.batch(over);
      unlisten = standing.onBan(keep);
    },
    async stop() {
      unlisten?.();
      await Promise.all(writing);
    },
  };
}
