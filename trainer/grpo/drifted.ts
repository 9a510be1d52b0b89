// Rollouts that the policy has left behind: bad ones that it would hardly sample any more teach by noise.
// Source: spec/grpo.md "Staleness" (brakes); DeepSeek-V3.2: drop A < 0 where mean log(πμ/π) over the sequence exceeds δ.

/** What is looked at of a rollout. */
export interface DriftedRollout {
  readonly advantage: number;
  /** under the policy that sampled */
  readonly logprobsWorker: Float32Array;
}

/**
 * @param logprobs under the weights that learn, of the same tokens
 * @param limit δ in nats
 */
export function isDrifted(
  { advantage, logprobsWorker }: DriftedRollout,
  logprobs: Float32Array,
  limit: number,
): boolean {
  if (advantage >= 0) return false;
  let sum = 0;
  for (let t = 0; t < logprobs.length; t++) sum += logprobsWorker[t]! - logprobs[t]!;
  return sum / logprobs.length > limit;
}
