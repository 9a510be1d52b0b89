// One part of a calibration: groups made and judged chunk by chunk, later ones made while one is judged. What is done is plain data
// after each chunk, so that a part that was stopped goes on with its next chunk and comes to the same counts.

import type { TallyState } from './tally.ts';
import type { ChanceSums } from './theory.ts';

const CHUNK_GROUPS = 64;
/** Chunks in flight: one is generated, one replayed, one waits while another is judged. */
const CHUNKS_AHEAD = 3;

export interface PairCounts {
  readonly groups: number;
  readonly rejected: number;
}

/** How far a part is. */
export interface PartState {
  /** groups made, a whole number of chunks, or all */
  readonly done: number;
  readonly tally: TallyState;
  /** honest work: of each pair of settings */
  readonly pairs?: readonly PairCounts[];
  /** of a lie */
  readonly chances?: ChanceSums;
}

/** Where the states of parts are kept between runs of the same calibration. */
export interface PartKeeper {
  read(part: string): PartState | undefined;
  keep(part: string, state: PartState): void;
}

/** Keeps nothing: every calibration begins anew. */
export const FORGETFUL: PartKeeper = { read: () => undefined, keep: () => undefined };

export interface Chunk {
  readonly index: number;
  readonly from: number;
  readonly size: number;
}

/** `count` groups in chunks, at least `least` of them if there are as many groups, without the first `done` groups. */
export function chunksOf(count: number, least: number, done: number): Chunk[] {
  const size = Math.max(1, Math.min(CHUNK_GROUPS, Math.floor(count / least)));
  const chunks: Chunk[] = [];
  for (let from = 0, index = 0; from < count; from += size, index++) {
    if (from >= done) chunks.push({ index, from, size: Math.min(size, count - from) });
  }
  return chunks;
}

/**
 * Consumes chunks in order while later ones are made. All that was begun is settled when it throws.
 * @param make whatever waits for an engine: a thread that is free finds the work of another chunk
 */
export async function pipeline<T>(
  chunks: readonly Chunk[],
  make: (chunk: Chunk) => Promise<T>,
  consume: (made: T, chunk: Chunk) => void,
): Promise<void> {
  const ahead: Promise<T>[] = [];
  const begin = (chunk: Chunk | undefined): void => {
    if (chunk === undefined) return;
    const making = make(chunk);
    making.catch(() => undefined); // told when it is awaited
    ahead.push(making);
  };
  for (const chunk of chunks.slice(0, CHUNKS_AHEAD)) begin(chunk);
  try {
    for (const [k, chunk] of chunks.entries()) {
      const made = await ahead.shift()!;
      begin(chunks[k + CHUNKS_AHEAD]);
      consume(made, chunk);
    }
  } finally {
    await Promise.allSettled(ahead);
  }
}
