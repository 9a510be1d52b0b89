// Replay near a cut (spec/rollouts.md, "Replay", question 1): where a prefix sum lies within δ of top-p, or the k-th and
// the next logit within δ of each other, honest engines may cut differently; a token passes if it passes under either.

import { type CutSettings, hasCut, massOf, prefixLength, rankedForCut, renormalised } from './distribution.ts';
import { type Interval, intervalOf } from './draw.ts';

/** A token's interval under the recomputed cut, and under the other cuts that lie within δ. */
export interface CutIntervals extends Interval {
  readonly alternatives: readonly Interval[];
}

/** `ids` cut to `count`; and, when the last one kept and the next are within δ of each other, with these two swapped. */
function nearCuts(p: Float64Array, ids: Int32Array, count: number, delta: number): Int32Array[] {
  const cut = ids.slice(0, count);
  if (count === 0 || count >= ids.length) return [cut];
  const last = ids[count - 1]!;
  const next = ids[count]!;
  if (!(Math.log(p[last]!) - Math.log(p[next]!) <= delta)) return [cut];
  const swapped = cut.slice();
  swapped[count - 1] = next;
  return [cut, swapped];
}

/** The sets that top-p may keep of `ids`, the recomputed one first. `mass` is what `ids` weigh together. */
function prefixes(p: Float64Array, ids: Int32Array, mass: number, topP: number, delta: number): Int32Array[] {
  const kept = prefixLength(p, ids, mass, topP);
  const sum = massOf(p, ids.subarray(0, kept)) / mass;
  const sumBefore = sum - p[ids[kept - 1]!]! / mass;
  const sets = nearCuts(p, ids, kept, delta);
  if (kept > 1 && sumBefore >= topP - delta) sets.push(...nearCuts(p, ids, kept - 1, delta));
  if (kept < ids.length && sum < topP + delta) sets.push(...nearCuts(p, ids, kept + 1, delta));
  return sets;
}

/**
 * Intervals of `token` under every cut within `delta` of the recomputed one.
 * @param p f64[V]: softmax before any cut
 */
export function cutIntervals(p: Float64Array, settings: CutSettings, token: number, delta: number): CutIntervals {
  if (!hasCut(settings, p.length)) return { ...intervalOf(p, token), alternatives: [] };
  const ranked = rankedForCut(p, settings, 2);
  const hasTopK = settings.topK > 0 && settings.topK < p.length;
  const afterTopK = hasTopK ? nearCuts(p, ranked, settings.topK, delta) : [ranked];
  const sets =
    settings.topP < 1
      ? afterTopK.flatMap((ids) => prefixes(p, ids, hasTopK ? massOf(p, ids) : 1, settings.topP, delta))
      : afterTopK;
  const [base, ...others] = sets.map((kept) => intervalOf(renormalised(p, kept), token));
  return { ...base!, alternatives: others.filter(({ below, upTo }) => upTo > below) };
}
