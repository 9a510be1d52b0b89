// The machine as ports: clock, randomness, logs.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleepTimeout } from 'node:timers/promises';
import pino from 'pino';
import pretty from 'pino-pretty';
import type { Clock, Logger, Random } from '../protocol/ports.ts';

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) =>
    sleepTimeout(ms, undefined, signal === undefined ? {} : { signal }).catch(() => {
      // Woken by the signal: that is what it is for.
    }),
};

export const systemRandom: Random = { bytes: (count) => new Uint8Array(randomBytes(count)) };

/** JSON lines on stderr; a human form when stderr is a terminal. */
export function createLogger(level: string): Logger {
  const stream = process.stderr.isTTY
    ? pretty({ colorize: true, ignore: 'pid,hostname', translateTime: 'HH:MM:ss', sync: true, destination: 2 })
    : pino.destination({ fd: 2, sync: true });
  return pino({ level }, stream);
}
