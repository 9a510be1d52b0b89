// A clock that stands until the test moves it.
// Invariant: sleepers wake in the order of their times, each seeing the clock at its own time.

import type { Clock } from '../../node/protocol/ports.ts';

export interface FakeClock extends Clock {
  /** moves the clock, waking whoever sleeps until then; lets promises run after each */
  advance(ms: number): Promise<void>;
  /** how many sleep */
  sleepers(): number;
}

interface Sleeper {
  readonly wakeMs: number;
  readonly wake: () => void;
}

/** @param startMs what the clock shows at first */
export function fakeClock(startMs = 1_700_000_000_000): FakeClock {
  let now = startMs;
  const sleepers = new Set<Sleeper>();
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    nowMs: () => now,
    sleepers: () => sleepers.size,
    sleep(ms, signal) {
      if (signal?.aborted === true || ms <= 0) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = (): void => {
          sleepers.delete(sleeper);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        const sleeper: Sleeper = { wakeMs: now + ms, wake };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', wake, { once: true });
      });
    },
    async advance(ms) {
      const until = now + ms;
      await settle();
      for (;;) {
        const next = [...sleepers].sort((a, b) => a.wakeMs - b.wakeMs)[0];
        if (next === undefined || next.wakeMs > until) break;
        now = next.wakeMs;
        next.wake();
        await settle();
      }
      now = until;
    },
  };
}
