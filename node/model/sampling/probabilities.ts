// Drawing from float32 probabilities that a graph has worked out: the rule of draw.ts (inverse CDF in token-id order), its
// sums in float64. Source: spec/rollouts.md "Sampling", last sentence: an engine may compute otherwise than in float64
// where a test shows its CDF within δ/4 of the reference's (test/node/model/sampling/probabilities.test.ts).
// What the rows weigh together (1, but for rounding) is divided out.

import { type CutSettings, checkSum, hasCut, massOf, prefixLength, rankedForCut } from './distribution.ts';
import type { Draw } from './draw.ts';

/** Σ p over ids from `from` to before `end`, in four sums beside each other: additions wait for one another otherwise. */
function sumOf(p: Float32Array, from: number, end: number): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  let id = from;
  for (; id + 3 < end; id += 4) {
    a += p[id]!;
    b += p[id + 1]!;
    c += p[id + 2]!;
    d += p[id + 3]!;
  }
  for (; id < end; id++) a += p[id]!;
  return a + b + (c + d);
}

/** The first id from `from` on at which `below` + the running sum passes `target`; if none, the last with p > 0; −1 if all are 0. */
function passing(p: Float32Array, from: number, end: number, below: number, target: number): number {
  let running = below;
  let last = -1;
  for (let id = from; id < end; id++) {
    const value = p[id]!;
    if (!(value > 0)) continue;
    running += value;
    if (running > target) return id;
    last = id;
  }
  return last;
}

/** Draws by a uniform number from a row f32[≥ tokenCount]. */
export type RowDraw = (p: Float32Array, u: number) => Draw;

/** Ids that are summed by themselves, so that only those near `u` are gone through one by one: in half of the time (measured, 2 048 ids). */
const BLOCK = 32;

/**
 * A recipe's way to draw from whole rows. Cuts rank only ids that they may keep, and stop once they have kept enough.
 * @throws {SwarmError} ENGINE_FAILED when drawn from a row that is no distribution
 */
export function createRowDraw(settings: CutSettings, tokenCount: number): RowDraw {
  const isCut = hasCut(settings, tokenCount);
  /** Σ p up to the end of each block */
  const upTo = new Float64Array(Math.ceil(tokenCount / BLOCK));
  return (p, u) => {
    let sum = 0;
    for (let block = 0; block < upTo.length; block++) {
      sum += sumOf(p, block * BLOCK, Math.min(tokenCount, (block + 1) * BLOCK));
      upTo[block] = sum;
    }
    checkSum(sum);
    const token = isCut ? drawCut(p.subarray(0, tokenCount), sum, settings, u) : drawIn(p, tokenCount, upTo, u * sum);
    return { token, logprob: Math.log(p[token]! / sum) };
  };
}

/** Where the running sum passes `target`. @param upTo Σ p up to the end of each block */
function drawIn(p: Float32Array, tokenCount: number, upTo: Float64Array, target: number): number {
  let block = 0;
  while (block < upTo.length && !(upTo[block]! > target)) block++;
  // Rounding may have left none: then it is the last with p > 0 of all.
  if (block === upTo.length) return passing(p, 0, tokenCount, 0, target);
  return passing(p, block * BLOCK, tokenCount, block === 0 ? 0 : upTo[block - 1]!, target);
}

/** Ranks what the cuts may keep, then goes through the kept in the order of their ids. */
function drawCut(p: Float32Array, sum: number, settings: CutSettings, u: number): number {
  const ranked = rankedForCut(p, settings, 0, sum);
  const mass = settings.topK > 0 && settings.topK < p.length ? massOf(p, ranked) : sum;
  const kept = settings.topP < 1 ? ranked.subarray(0, prefixLength(p, ranked, mass, settings.topP)) : ranked;
  const target = u * massOf(p, kept);
  kept.sort();
  let running = 0;
  for (const id of kept) {
    running += p[id]!;
    if (running > target) return id;
  }
  return kept.at(-1)!;
}

/** The chunks of a row that a uniform number may fall into, as `next-token.ts` gives them: neighbours, or one twice. */
export interface PickedChunks {
  /** f32[chunks]: what each of the row's chunks weighs */
  readonly sums: Float32Array;
  readonly first: number;
  readonly last: number;
  /** f32[2 · width]: the probabilities of their ids */
  readonly probabilities: Float32Array;
}

/** @throws {SwarmError} ENGINE_FAILED when the row is no distribution */
export function drawFromChunks({ sums, first, last, probabilities }: PickedChunks, u: number): Draw {
  const sum = sumOf(sums, 0, sums.length);
  checkSum(sum);
  const width = probabilities.length / 2;
  const belowLast = sumOf(sums, 0, last);
  const isInLast = first >= last || u * sum >= belowLast;
  const below = isInLast ? belowLast : sumOf(sums, 0, first);
  const p = isInLast ? probabilities.subarray(width) : probabilities;
  const index = passing(p, 0, width, below, u * sum);
  return { token: (isInLast ? last : first) * width + index, logprob: Math.log(p[index]! / sum) };
}
