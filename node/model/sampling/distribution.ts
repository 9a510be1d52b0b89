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

/** Whether `a` comes after `b` among the likeliest: smaller, or equal with a larger id. */
function ranksAfter(p: Float64Array, a: number, b: number): boolean {
  return p[a]! < p[b]! || (p[a]! === p[b]! && a > b);
}

function siftDown(heap: Int32Array, p: Float64Array): void {
  for (let at = 0; ; ) {
    let last = at;
    for (let child = 2 * at + 1; child <= 2 * at + 2 && child < heap.length; child++) {
      if (ranksAfter(p, heap[child]!, heap[last]!)) last = child;
    }
    if (last === at) return;
    [heap[at], heap[last]] = [heap[last]!, heap[at]!];
    at = last;
  }
}

/** The `count` likeliest ids, likeliest first, ties by smaller id. A heap whose root ranks last, so one compare an id. */
export function likeliest(p: Float64Array, count: number): Int32Array {
  const byRank = (a: number, b: number): number => p[b]! - p[a]! || a - b;
  const heap = Int32Array.from({ length: Math.min(count, p.length) }, (_, id) => id);
  if (heap.length === p.length) return heap.sort(byRank);
  heap.sort((a, b) => -byRank(a, b)); // sorted, last first: a valid heap
  for (let id = heap.length; id < p.length; id++) {
    if (!ranksAfter(p, id, heap[0]!)) {
      heap[0] = id;
      siftDown(heap, p);
    }
  }
  return heap.sort(byRank);
}

/** Ids that may belong to the shortest prefix reaching `topP`: the others together weigh less than 1 − topP. */
function prefixCandidates(p: Float64Array, topP: number): Int32Array {
  const least = ((1 - topP) / p.length) * (1 - 1e-9);
  const ids: number[] = [];
  for (let id = 0; id < p.length; id++) if (p[id]! > 0 && p[id]! >= least) ids.push(id);
  return Int32Array.from(ids).sort((a, b) => p[b]! - p[a]! || a - b);
}

/**
 * The ids that may be ranked by the cuts, likeliest first: the k likeliest, or for top-p alone every id that its prefix
 * may hold. `spare` more are listed after them, for a look across the cut.
 */
export function rankedForCut(p: Float64Array, settings: CutSettings, spare: number = 0): Int32Array {
  if (settings.topK > 0 && settings.topK < p.length) return likeliest(p, settings.topK + spare);
  if (spare === 0) return prefixCandidates(p, settings.topP);
  return likeliest(p, prefixCandidates(p, settings.topP).length + spare);
}

/** Sum of p over ids. */
export function massOf(p: Float64Array, ids: Int32Array): number {
  let mass = 0;
  for (const id of ids) mass += p[id]!;
  return mass;
}

/** How many of `ids` (likeliest first, weighing `mass` together) the shortest prefix reaching `topP` of them holds. */
export function prefixLength(p: Float64Array, ids: Int32Array, mass: number, topP: number): number {
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
