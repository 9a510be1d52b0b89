// The entries of largest magnitude of a chunk of bf16 activations, by selection, not sorting.
// Source: spec/toploc.md "Format": largest |value|, ties by smaller flat index; x = flat index, y = the signed bit pattern.
// One pass keeps what exceeds a rising threshold; a full buffer is cut back to the best. bf16 magnitudes order as their low 15 bits do.

import { ProofError } from './error.ts';

const MAGNITUDE_BITS = 0x7fff;
const EXCEEDS = 0x8000;
/** bf16 infinity; every magnitude above it is a NaN. */
const INFINITY_BITS = 0x7f80;
/** The coarse histogram counts by the upper 10 of the 15 bits: exponent and two bits of mantissa. */
const COARSE_SHIFT = 5;
const COARSE_BUCKETS = 1 << (15 - COARSE_SHIFT);
const FINE_MASK = (1 << COARSE_SHIFT) - 1;
/** Buffer length as a multiple of `count`: longer lets more through, shorter cuts more often (3 is fastest, measured). */
const BUFFER_FACTOR = 3;

/** Indices (ascending) and bit patterns of the chosen entries. */
export interface TopValues {
  readonly indices: Int32Array;
  readonly bits: Uint16Array;
}

/** Histograms that are used again for every chunk. */
export interface TopValuesScratch {
  readonly coarse: Uint32Array;
  readonly fine: Uint32Array;
}

export function createTopValuesScratch(): TopValuesScratch {
  return { coarse: new Uint32Array(COARSE_BUCKETS), fine: new Uint32Array(FINE_MASK + 1) };
}

/**
 * @param values bf16 bits, a chunk flattened row-major
 * @param count how many to take; all when there are fewer
 * @throws {ProofError} PROOF_NAN when the chunk holds a NaN
 */
export function topValues(values: Uint16Array, count: number, scratch: TopValuesScratch): TopValues {
  const taken = Math.min(count, values.length);
  const kept = new Int32Array(taken * BUFFER_FACTOR);
  let length = 0;
  // A later entry equal to the threshold loses the tie to `taken` earlier ones: only what exceeds it matters.
  let threshold = -1;
  for (let i = nextAbove(values, 0, threshold); i < values.length; i = nextAbove(values, i + 1, threshold)) {
    if (length === kept.length) {
      threshold = cutBack(values, kept, length, taken, scratch);
      length = taken;
      if ((values[i]! & MAGNITUDE_BITS) <= threshold) continue;
    }
    kept[length++] = i;
  }
  cutBack(values, kept, length, taken, scratch);
  const indices = kept.slice(0, taken);
  const bits = new Uint16Array(taken);
  for (let i = 0; i < taken; i++) bits[i] = values[indices[i]!]!;
  return { indices, bits };
}

/**
 * The first index ≥ `from` whose magnitude exceeds the threshold, or the length.
 * Eight at a time: magnitude + (0x7fff − threshold) has bit 15 set exactly when it exceeds (measured: faster than one at a time).
 */
function nextAbove(values: Uint16Array, from: number, threshold: number): number {
  const lift = MAGNITUDE_BITS - threshold;
  let i = from;
  for (; i + 8 <= values.length; i += 8) {
    const lifted =
      ((values[i]! & MAGNITUDE_BITS) + lift) |
      ((values[i + 1]! & MAGNITUDE_BITS) + lift) |
      ((values[i + 2]! & MAGNITUDE_BITS) + lift) |
      ((values[i + 3]! & MAGNITUDE_BITS) + lift) |
      ((values[i + 4]! & MAGNITUDE_BITS) + lift) |
      ((values[i + 5]! & MAGNITUDE_BITS) + lift) |
      ((values[i + 6]! & MAGNITUDE_BITS) + lift) |
      ((values[i + 7]! & MAGNITUDE_BITS) + lift);
    if ((lifted & EXCEEDS) !== 0) break;
  }
  while (i < values.length && (values[i]! & MAGNITUDE_BITS) <= threshold) i++;
  return i;
}

/** Moves the `taken` best of `kept[0, length)` to its front, in index order. @returns the smallest magnitude among them */
function cutBack(
  values: Uint16Array,
  kept: Int32Array,
  length: number,
  taken: number,
  scratch: TopValuesScratch,
): number {
  const cut = findCut(values, kept, length, taken, scratch);
  let ties = cut.ties;
  let found = 0;
  for (let i = 0; i < length; i++) {
    const magnitude = values[kept[i]!]! & MAGNITUDE_BITS;
    if (magnitude < cut.magnitude || (magnitude === cut.magnitude && ties-- <= 0)) continue;
    kept[found++] = kept[i]!;
  }
  return cut.magnitude;
}

interface Cut {
  /** the smallest magnitude that is still taken */
  readonly magnitude: number;
  /** how many entries of just that magnitude are taken */
  readonly ties: number;
}

function findCut(
  values: Uint16Array,
  kept: Int32Array,
  length: number,
  taken: number,
  { coarse, fine }: TopValuesScratch,
): Cut {
  coarse.fill(0);
  for (let i = 0; i < length; i++) {
    const magnitude = values[kept[i]!]! & MAGNITUDE_BITS;
    if (magnitude > INFINITY_BITS) throw nan(kept[i]!);
    coarse[magnitude >> COARSE_SHIFT]!++;
  }
  const bucket = bucketOfRank(coarse, COARSE_BUCKETS - 1, taken);
  fine.fill(0);
  for (let i = 0; i < length; i++) {
    const magnitude = values[kept[i]!]! & MAGNITUDE_BITS;
    if (magnitude >> COARSE_SHIFT === bucket.index) fine[magnitude & FINE_MASK]!++;
  }
  const exact = bucketOfRank(fine, FINE_MASK, bucket.rank);
  return { magnitude: (bucket.index << COARSE_SHIFT) | exact.index, ties: exact.rank };
}

function nan(index: number): ProofError {
  return new ProofError(
    'PROOF_NAN',
    `activation ${index} of the chunk is a NaN and is not proved; check the weights and the engine`,
    { index },
  );
}

/** The bucket, from the top, that holds the entry of rank `rank` (from 1), and that entry's rank inside it. */
function bucketOfRank(counts: Uint32Array, top: number, rank: number): { index: number; rank: number } {
  let left = rank;
  for (let index = top; index > 0; index--) {
    if (counts[index]! >= left) return { index, rank: left };
    left -= counts[index]!;
  }
  return { index: 0, rank: left };
}
