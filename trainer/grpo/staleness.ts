// How far a batch lies from the weights that learn from it, in the figures that every step logs.
// Source: spec/grpo.md §Staleness; ESS as in Kong (1992), log² as in M2PO (arXiv 2510.01161), KL by Schulman's k3 estimator.
// Invariant: a batch sampled by the very weights has ESS share 1, mean log²w 0 and KL 0.

export interface Staleness {
  /** (Σw)² / (n·Σw²), 1 = all tokens count alike */
  readonly essShare: number;
  /** mean over tokens of (lp − lpμ)² */
  readonly meanLog2w: number;
  /** mean over tokens of w − 1 − log w with w = π/μ: an estimate of KL(μ‖π), never negative */
  readonly klEstimate: number;
}

/**
 * Figures over all completion tokens of a batch.
 * @param logprobs under the weights that learn, one array a sequence
 * @param logprobsWorker under the policy that sampled, same lengths
 */
export function staleness(
  logprobs: readonly ArrayLike<number>[],
  logprobsWorker: readonly ArrayLike<number>[],
): Staleness {
  let count = 0;
  let sumW = 0;
  let sumW2 = 0;
  let sumLog2 = 0;
  let sumKl = 0;
  logprobs.forEach((sequence, index) => {
    for (let t = 0; t < sequence.length; t++) {
      const log = sequence[t]! - logprobsWorker[index]![t]!;
      const w = Math.exp(log);
      count += 1;
      sumW += w;
      sumW2 += w * w;
      sumLog2 += log * log;
      sumKl += w - 1 - log;
    }
  });
  if (count === 0) return { essShare: 1, meanLog2w: 0, klEstimate: 0 };
  return { essShare: (sumW * sumW) / (count * sumW2), meanLog2w: sumLog2 / count, klEstimate: sumKl / count };
}
