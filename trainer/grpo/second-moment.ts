// Tokens that stand too far from the policy that sampled them teach by noise: those with the largest log²w are left out until
// the mean of the others is below a limit. Source: spec/grpo.md "Staleness" (brakes); M2PO. Invariant: as few as will do.

/** What is looked at of a rollout; both f32[T], the same tokens. */
export interface SampledLogprobs {
  /** under the policy that sampled */
  readonly logprobsWorker: Float32Array;
  /** under the weights that learn */
  readonly logprobsOld: Float32Array;
}

/**
 * Which tokens of a batch stay.
 * @param limit on the mean of log²w over the tokens that stay, nats², > 0
 * @returns u8[T] for each rollout: 1 where the token stays
 */
export function steadyTokens(batch: readonly SampledLogprobs[], limit: number): readonly Uint8Array[] {
  const masks = batch.map(({ logprobsWorker }) => new Uint8Array(logprobsWorker.length).fill(1));
  const squares = batch.flatMap(({ logprobsWorker, logprobsOld }, i) =>
    Array.from(logprobsWorker, (worker, t) => ({ i, t, square: (logprobsOld[t]! - worker) ** 2 })),
  );
  squares.sort((a, b) => b.square - a.square);
  let sum = squares.reduce((total, { square }) => total + square, 0);
  for (const [left, { i, t, square }] of squares.entries()) {
    if (sum < limit * (squares.length - left)) break;
    masks[i]![t] = 0;
    sum -= square;
  }
  return masks;
}
