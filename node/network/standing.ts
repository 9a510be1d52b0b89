// What a peer's conduct on the wire has cost it: penalty points that fade, and bans. (Standing of rollouts is the verifier's.)
// Source: design.md "libp2p 3": a gray-listed peer stays connected, so we disconnect it ourselves and keep it away.
// A slow peer is no offender: a machine that trains answers late.
// Invariant: a banned peer is refused by the connection gater until its ban ends, also after a restart (bans.ts).

import type { Clock, Logger, PeerIdString } from '../protocol/ports.ts';

/** Points for one offence; BAN_POINTS of them within a few minutes end in a ban. */
export const PENALTY: Readonly<Record<Offence, number>> = {
  'rejected message': 10,
  'malformed message': 20,
  'malformed request': 20,
  'corrupt blob': 40,
  'oversized answer': 40,
};
export const BAN_POINTS: number = 100;
const HALF_LIFE_MS = 10 * 60_000;
const BAN_MS = 30 * 60_000;
const MAX_PEERS = 4096;

export type Offence =
  | 'rejected message'
  | 'malformed message'
  | 'malformed request'
  | 'corrupt blob'
  | 'oversized answer';

/** A peer that is kept away, until when, in milliseconds since 1970. */
export interface Ban {
  readonly peer: PeerIdString;
  readonly why: string;
  readonly untilMs: number;
}

export interface Standing {
  /** adds the points of an offence; bans when they reach BAN_POINTS */
  penalize(peer: PeerIdString, offence: Offence): void;
  /** points now, after fading */
  points(peer: PeerIdString): number;
  /** keeps a peer away; a host also disconnects it */
  ban(peer: PeerIdString, why: string, durationMs?: number): void;
  isBanned(peer: PeerIdString): boolean;
  banned(): readonly Ban[];
  /** a ban of an earlier run; told to nobody */
  restore(ban: Ban): void;
  onBan(listener: (ban: Ban) => void): () => void;
}

/** Points and bans, empty at first. */
export function createStanding(components: { readonly clock: Clock; readonly logger: Logger }): Standing {
  const { clock, logger } = components;
  const points = new Map<PeerIdString, { value: number; atMs: number }>();
  const bans = new Map<PeerIdString, Ban>();
  const listeners = new Set<(ban: Ban) => void>();

  function pointsOf(peer: PeerIdString): number {
    const it = points.get(peer);
    return it === undefined ? 0 : it.value * 2 ** (-(clock.nowMs() - it.atMs) / HALF_LIFE_MS);
  }

  function ban(peer: PeerIdString, why: string, durationMs: number = BAN_MS): void {
    const made: Ban = { peer, why, untilMs: clock.nowMs() + durationMs };
    restore(made);
    points.delete(peer);
    logger.warn({ peer, why, durationMs }, 'peer banned');
    for (const listener of listeners) listener(made);
  }

  function restore(made: Ban): void {
    if (bans.size >= MAX_PEERS) bans.delete(bans.keys().next().value!);
    bans.set(made.peer, made);
  }

  function isBanned(peer: PeerIdString): boolean {
    const it = bans.get(peer);
    if (it === undefined) return false;
    if (it.untilMs > clock.nowMs()) return true;
    bans.delete(peer);
    return false;
  }

  return {
    penalize(peer, offence) {
      const value = pointsOf(peer) + PENALTY[offence];
      logger.debug({ peer, offence, points: value }, 'peer penalized');
      if (value >= BAN_POINTS) {
        ban(peer, `${offence}, after other offences`);
        return;
      }
      if (points.size >= MAX_PEERS) points.delete(points.keys().next().value!);
      points.set(peer, { value, atMs: clock.nowMs() });
    },
    points: pointsOf,
    ban,
    isBanned,
    banned: () => [...bans.values()].filter(({ peer }) => isBanned(peer)),
    restore,
    onBan(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
