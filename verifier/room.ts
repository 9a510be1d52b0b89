// What other verifiers say, kept for a while: one thing for each verifier and subject, bounded in all and for each verifier.
// Keys cost nothing, so a bound alone would let a crowd of them push out everybody else: in a full room a stranger's oldest makes
// room for a verifier that is none; strangers are turned away. A data structure: no clock, no I/O.

import type { PeerIdString } from '../node/protocol/ports.ts';

export interface Room<Said> {
  /** @returns false when the verifier has said something of the subject before, or there is no room for more of it */
  add(verifier: PeerIdString, subject: string, said: Said): boolean;
  /** by verifier, in order of arrival */
  on(subject: string): ReadonlyMap<PeerIdString, Said>;
  delete(verifier: PeerIdString, subject: string): void;
  /** lets go of all that this is true of */
  forget(isOver: (said: Said) => boolean): void;
  all(): readonly Said[];
  size(): number;
}

export interface RoomInit {
  readonly max: number;
  readonly maxEach: number;
  readonly isStranger: (verifier: PeerIdString) => boolean;
  /** what strangers say of such a subject makes room for anybody; without it, nothing does */
  readonly isIdle?: (subject: string) => boolean;
}

/** Empty at first. */
export function createRoom<Said>({ max, maxEach, isStranger, isIdle }: RoomInit): Room<Said> {
  const subjects = new Map<string, Map<PeerIdString, Said>>();
  const counts = new Map<PeerIdString, number>();
  const none: ReadonlyMap<PeerIdString, Said> = new Map();
  let size = 0;

  const count = (verifier: PeerIdString, by: 1 | -1): void => {
    size += by;
    const held = (counts.get(verifier) ?? 0) + by;
    if (held > 0) counts.set(verifier, held);
    else counts.delete(verifier);
  };

  const remove = (verifier: PeerIdString, subject: string): void => {
    const said = subjects.get(subject);
    if (said?.delete(verifier) !== true) return;
    count(verifier, -1);
    if (said.size === 0) subjects.delete(subject);
  };

  /** @returns whether something left, the oldest subject's first */
  const makeRoomFor = (newcomer: PeerIdString): boolean => {
    const mustBeIdle = isStranger(newcomer);
    if (mustBeIdle && isIdle === undefined) return false;
    for (const [subject, said] of subjects) {
      if (mustBeIdle && isIdle?.(subject) !== true) continue;
      for (const verifier of said.keys()) {
        if (!isStranger(verifier)) continue;
        remove(verifier, subject);
        return true;
      }
    }
    return false;
  };

  return {
    add(verifier, subject, said) {
      if (subjects.get(subject)?.has(verifier) === true || (counts.get(verifier) ?? 0) >= maxEach) return false;
      if (size >= max && !makeRoomFor(verifier)) return false;
      const ofSubject = subjects.get(subject) ?? new Map<PeerIdString, Said>();
      subjects.set(subject, ofSubject.set(verifier, said));
      count(verifier, 1);
      return true;
    },
    on: (subject) => subjects.get(subject) ?? none,
    delete: remove,
    forget(isOver) {
      for (const [subject, ofSubject] of subjects) {
        for (const [verifier, said] of ofSubject) if (isOver(said)) remove(verifier, subject);
      }
    },
    all: () => [...subjects.values()].flatMap((ofSubject) => [...ofSubject.values()]),
    size: () => size,
  };
}
