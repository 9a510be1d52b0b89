// Tokens that stand too far from the policy that sampled them teach by noise: those with the largest log²w are left out until
// the mean of the others is below a limit. Source: spec/grpo.md "Staleness" (brakes); M2PO. Invariant: as few as will do.
//
// Tokens are counted into buckets, of which one alone is sorted: this runs on the network's thread, and for 128 rollouts of
// 1024 tokens takes it 4 ms of CPU time, where only to sort them takes 15 (measured).

/** What is looked at of a rollout; both f32[T], the same tokens. */
export interface SampledLogprobs {
  /** under the policy that sampled */
  readonly logprobsWorker: Float32Array;
  /** under the weights that learn */
  readonly logprobsOld: Float32Array;
}

/** The upper bits of floats ≥ 0 are ordered as the floats are: exponent and 5 bits of the fraction. */
const BUCKET_SHIFT = 18;
const BUCKETS = 2 ** (32 - 1 - BUCKET_SHIFT);

/** How many of the largest go: all above `limit`, and `ties` of those that equal it. */
interface Cut {
  readonly limit: number;
  readonly ties: number;
}

/** The fewest of the largest of these, none negative, without which the mean of the rest is below a limit. */
function cutOf(values: Float32Array<ArrayBuffer>, limit: number): Cut {
  const [counts, sums] = [new Uint32Array(BUCKETS), new Float64Array(BUCKETS)];
  const bits = new Uint32Array(values.buffer);
  let sum = 0;
  for (let k = 0; k < values.length; k++) {
    const bucket = bits[k]! >>> BUCKET_SHIFT;
    counts[bucket]! += 1;
    sums[bucket]! += values[k]!;
    sum += values[k]!;
  }
  let left = values.length;
  if (sum < limit * left) return { limit: Number.POSITIVE_INFINITY, ties: 0 };
  // While the mean is too large, the largest is too: taking it away brings the mean nearer, and no bucket is passed by.
  let bucket = BUCKETS - 1;
  for (; bucket >= 0 && !(sum - sums[bucket]! < limit * (left - counts[bucket]!)); bucket--) {
    sum -= sums[bucket]!;
    left -= counts[bucket]!;
  }
  const last = new Float32Array(counts[bucket] ?? 0);
  for (let k = 0, at = 0; at < last.length; k++) if (bits[k]! >>> BUCKET_SHIFT === bucket) last[at++] = values[k]!;
  last.sort();
  let gone = 0;
  for (; gone < last.length && !(sum < limit * left); left--) sum -= last[last.length - ++gone]!;
  const smallest = last[last.length - gone] ?? Number.NEGATIVE_INFINITY;
  return { limit: smallest, ties: last.subarray(last.length - gone).filter((value) => value === smallest).length };
}

/**
 * Which tokens of a batch stay.
 * @param limit on the mean of log²w over the tokens that stay, nats², > 0
 * @returns u8[T] for each rollout: 1 where the token stays
 */
export function steadyTokens(batch: readonly SampledLogprobs[], limit: number): readonly Uint8Array[] {
  const squares = new Float32Array(batch.reduce((total, { logprobsWorker }) => total + logprobsWorker.length, 0));
  let at = 0;
  for (const { logprobsWorker, logprobsOld } of batch) {
    for (let t = 0; t < logprobsWorker.length; t++) squares[at++] = (logprobsOld[t]! - logprobsWorker[t]!) ** 2;
  }
  const cut = cutOf(squares, limit);
  let { ties } = cut;
  at = 0;
  return batch.map(({ logprobsWorker }) => {
    const mask = new Uint8Array(logprobsWorker.length);
    for (let t = 0; t < mask.length; t++) {
      const square = squares[at++]!;
      if (square < cut.limit || (square === cut.limit && ties-- <= 0)) mask[t] = 1;
    }
    return mask;
  });
}
