// A small seeded generator for initial weights and warm-up batches, whose state fits in a checkpoint.
// Source: sfc32 of PractRand (Chris Doty-Humphrey), seeded through SHA-256. Not for rollouts: those draw from spec/rollouts.md.
// Invariant: the same seed and label give the same numbers on every machine (normals: to the last bits of Math.log and Math.cos).

import { createHash } from 'node:crypto';
import { SwarmError } from '../node/protocol/errors.ts';

export interface SeededRandom {
  /** uniform in [0, 1), 32 bits of it */
  uniform(): number;
  /** uniform integer in [0, below) */
  integer(below: number): number;
  /** standard normal */
  normal(): number;
  /** text that `restoreRandom` takes */
  save(): string;
}

type State = [number, number, number, number];

function step(state: State): number {
  let [a, b, c, d] = state;
  const out = (((a + b) | 0) + d) | 0;
  d = (d + 1) | 0;
  a = b ^ (b >>> 9);
  b = (c + (c << 3)) | 0;
  c = (((c << 21) | (c >>> 11)) + out) | 0;
  state[0] = a;
  state[1] = b;
  state[2] = c;
  state[3] = d;
  return out >>> 0;
}

function randomFrom(state: State): SeededRandom {
  const uniform = (): number => step(state) / 2 ** 32;
  return {
    uniform,
    integer: (below) => Math.floor(uniform() * below),
    // Box–Muller, one of the pair thrown away so that the state is four integers and nothing else.
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    save: () => state.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join(''),
  };
}

/**
 * A generator of its own for each purpose.
 * @param seed any integer
 * @param label what it is for, such as a tensor's name: streams of different labels are independent
 */
export function seededRandom(seed: number, label: string): SeededRandom {
  const hash = createHash('sha256').update(`${seed}:${label}`).digest();
  return randomFrom([0, 4, 8, 12].map((at) => hash.readInt32LE(at)) as State);
}

/**
 * Goes on where `save` was called.
 * @throws {SwarmError} CHECKPOINT_CORRUPT when the text is not a saved state
 */
export function restoreRandom(saved: string): SeededRandom {
  if (!/^[0-9a-f]{32}$/.test(saved)) {
    throw new SwarmError(
      'CHECKPOINT_CORRUPT',
      `the saved random state should be 32 hex digits, got ${JSON.stringify(saved).slice(0, 50)}`,
    );
  }
  return randomFrom([0, 8, 16, 24].map((at) => Number.parseInt(saved.slice(at, at + 8), 16) | 0) as State);
}
