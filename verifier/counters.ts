// What a verifier has done since it started, for `murmur status`, metrics and tests.

import type { CheckAnswer } from '../node/protocol/check.ts';
import type { PeerStanding } from './standing.ts';

export interface VerifierStats {
  /** announcements that passed stage 0 and came here */
  readonly announced: number;
  readonly accepted: number;
  readonly rejected: Readonly<Record<string, number>>;
  readonly ignored: Readonly<Record<string, number>>;
  /** groups without a verdict yet; announced = accepted + rejected + ignored + waiting */
  readonly waiting: number;
  /** tokens due of the groups whose bodies are here: at `tokensPerSecond`, how far behind this verifier is */
  readonly backlogTokens: number;
  /** ignored for want of time (NOT_CHECKED); part of `ignored` */
  readonly notChecked: number;
  /** tokens replayed for each second inside the engine, prompts included; null before the first */
  readonly tokensPerSecond: number | null;
  readonly tokensReplayed: number;
  readonly sequencesReplayed: number;
  /** seconds inside the engine */
  readonly replaySeconds: number;
  readonly peers: readonly PeerStanding[];
}

export interface Counters {
  announced: number;
  accepted: number;
  readonly rejected: Record<string, number>;
  readonly ignored: Record<string, number>;
  tokensReplayed: number;
  sequencesReplayed: number;
  replaySeconds: number;
}

/** All at zero. */
export function createCounters(): Counters {
  return {
    announced: 0,
    accepted: 0,
    rejected: {},
    ignored: {},
    tokensReplayed: 0,
    sequencesReplayed: 0,
    replaySeconds: 0,
  };
}

/** Counts a group's final answer. */
export function countAnswer(counters: Counters, answer: CheckAnswer): void {
  if (answer.answer === 'accept') {
    counters.accepted++;
    return;
  }
  const byCode = answer.answer === 'reject' ? counters.rejected : counters.ignored;
  byCode[answer.code] = (byCode[answer.code] ?? 0) + 1;
}
