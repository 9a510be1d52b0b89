// The reference distribution of the next token, in float64 (spec/rollouts.md, "Sampling"):
// softmax(logits / temperature), ids without a token at 0; then top-k, renormalised; then top-p, renormalised.
// Log-probs are taken before any cut, as in training.

import { SwarmError } from '../../protocol/errors.ts';

/** The part of a recipe's sampling that shapes the distribution. */
export interface CutSettings {
  readonly temperature: number;
  /** 0 = off */
  readonly topK: number;
  /** 1 = off */
  readonly topP: number;
}

/** Whether top-k or top-p take anything away from a vocabulary of `tokenCount`. */
export function hasCut(settings: CutSettings, tokenCount: number): boolean {
  return (settings.topK > 0 && settings.topK < tokenCount) || settings.topP < 1;
}

/**
 * Refuses a softmax whose sum is no positive number: then the policy, not a peer, is at fault, and nothing may be drawn
 * from it nor judged by it.
 * @throws {SwarmError} ENGINE_FAILED
 */
export function checkSum(sum: number): void {
  if (sum > 0 && sum < Number.POSITIVE_INFINITY) return;
  throw new SwarmError('ENGINE_FAILED', 'The policy gives logits that are not finite; its weights cannot be used.', {
    sum: String(sum),
  });
}

/** Row `row` of a [rows, width] array, as a view. */
export function rowOf(values: Float32Array, row: number, width: number): Float32Array {
  return values.subarray(row * width, (row + 1) * width);
}

/**
 * softmax(logits / temperature) over the ids below `tokenCount`.
 * @param logits f32[V], V ≥ tokenCount
 * @param into f64[≥ tokenCount], written and returned when given
 * @throws {SwarmError} ENGINE_FAILED when a logit is not finite
 */
export function softmax(
  logits: Float32Array,
  temperature: number,
  tokenCount: number,
  into: Float64Array = new Float64Array(tokenCount),
): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < tokenCount; id++) if (logits[id]! > largest) largest = logits[id]!;
  let sum = 0;
  for (let id = 0; id < tokenCount; id++) sum += into[id] = Math.exp((logits[id]! - largest) / temperature);
  checkSum(sum);
  for (let id = 0; id < tokenCount; id++) into[id]! /= sum;
  return into;
}

/** log softmax(logits / temperature)[token], in float64, without underflow. */
export function logProbability(logits: Float32Array, temperature: number, tokenCount: number, token: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < tokenCount; id++) if (logits[id]! > largest) largest = logits[id]!;
  let sum = 0;
  for (let id = 0; id < tokenCount; id++) sum += Math.exp((logits[id]! - largest) / temperature);
  return (logits[token]! - largest) / temperature - Math.log(sum);
}

/** A row of probabilities: float64 as the reference has it, or float32 as a graph gives it. */
export type Probabilities = Float64Array | Float32Array;

/** Whether `a` comes after `b` among the likeliest: smaller, or equal with a larger id. */
function ranksAfter(p: Probabilities, a: number, b: number): boolean {
  return p[a]! < p[b]! || (p[a]! === p[b]! && a > b);
}

/** Moves the id at `at` down until no child belongs above it: at the root lies the id that ranks last, or else first. */
function siftDown(heap: Int32Array, size: number, at: number, p: Probabilities, root: 'last' | 'first'): void {
  for (let place = at; ; ) {
    let top = place;
    for (let child = 2 * place + 1; child <= 2 * place + 2 && child < size; child++) {
      const [a, b] = root === 'last' ? [heap[child]!, heap[top]!] : [heap[top]!, heap[child]!];
      if (ranksAfter(p, a, b)) top = child;
    }
    if (top === place) return;
    const id = heap[place]!;
    heap[place] = heap[top]!;
    heap[top] = id;
    place = top;
  }
}

/** The `count` likeliest ids, likeliest first, ties by smaller id. A heap whose root ranks last, so one compare an id. */
export function likeliest(p: Probabilities, count: number): Int32Array {
  const byRank = (a: number, b: number): number => p[b]! - p[a]! || a - b;
  const heap = Int32Array.from({ length: Math.min(count, p.length) }, (_, id) => id);
  if (heap.length === p.length) return heap.sort(byRank);
  heap.sort((a, b) => -byRank(a, b)); // sorted, last first: a valid heap
  for (let id = heap.length; id < p.length; id++) {
    if (!ranksAfter(p, id, heap[0]!)) {
      heap[0] = id;
      siftDown(heap, heap.length, 0, p, 'last');
    }
  }
  return heap.sort(byRank);
}

/**
 * The shortest prefix of the likeliest that weighs `mass`, and `spare` ids more, likeliest first. Only ids that such a
 * prefix can hold are ranked, and those it does not reach are never sorted.
 * @param total what all of p weigh
 */
function likeliestWeighing(p: Probabilities, total: number, mass: number, spare: number): Int32Array {
  // Ids below `least` weigh less than total − mass together, so the prefix ends before them; rounding is left some room.
  const least = spare > 0 ? Number.MIN_VALUE : ((total - mass) / p.length) * (1 - 1e-6);
  let size = 0;
  for (let id = 0; id < p.length; id++) if (p[id]! >= least) size++;
  const heap = new Int32Array(size);
  for (let id = 0, at = 0; at < size; id++) if (p[id]! >= least) heap[at++] = id;
  for (let at = (size >> 1) - 1; at >= 0; at--) siftDown(heap, size, at, p, 'first');
  const ids: number[] = [];
  for (let sum = 0, more = spare; size > 0 && (sum < mass || more > 0); ) {
    if (!(sum < mass)) more--;
    const id = heap[0]!;
    ids.push(id);
    sum += p[id]!;
    heap[0] = heap[--size]!;
    siftDown(heap, size, 0, p, 'first');
  }
  return Int32Array.from(ids);
}

/**
 * The ids that may be ranked by the cuts, likeliest first: the k likeliest, or for top-p alone those of its prefix.
 * `spare` more are listed after them, for a look across the cut.
 * @param total what all of p weigh; default 1
 */
export function rankedForCut(
  p: Probabilities,
  settings: CutSettings,
  spare: number = 0,
  total: number = 1,
): Int32Array {
  if (settings.topK > 0 && settings.topK < p.length) return likeliest(p, settings.topK + spare);
  return likeliestWeighing(p, total, settings.topP * total, spare);
}

/** Sum of p over ids. */
export function massOf(p: Probabilities, ids: Int32Array): number {
  let mass = 0;
  for (const id of ids) mass += p[id]!;
  return mass;
}

/** How many of `ids` (likeliest first, weighing `mass` together) the shortest prefix reaching `topP` of them holds. */
export function prefixLength(p: Probabilities, ids: Int32Array, mass: number, topP: number): number {
  let sum = 0;
  for (let n = 0; n < ids.length; n++) {
    sum += p[ids[n]!]! / mass;
    if (sum >= topP) return n + 1;
  }
  return ids.length;
}

/**
 * The distribution after the recipe's cuts.
 * @param p f64[V], sums to 1
 * @returns f64[V], sums to 1, 0 where cut; `p` itself when nothing is cut
 */
export function cutDistribution(p: Float64Array, settings: CutSettings): Float64Array {
  if (!hasCut(settings, p.length)) return p;
  const ranked = rankedForCut(p, settings);
  const topK = settings.topK > 0 && settings.topK < p.length;
  const kept =
    settings.topP < 1
      ? ranked.subarray(0, prefixLength(p, ranked, topK ? massOf(p, ranked) : 1, settings.topP))
      : ranked;
  return renormalised(p, kept);
}

/** p on `kept` only, divided by its mass there. */
export function renormalised(p: Float64Array, kept: Int32Array): Float64Array {
  const mass = massOf(p, kept);
  const out = new Float64Array(p.length);
  for (const id of kept) out[id] = p[id]! / mass;
  return out;
}
