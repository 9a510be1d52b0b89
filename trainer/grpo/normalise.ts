// How per-token objectives become one number: a weight for every completion token, so that the loss is −Σ weight·objective.
// Source: spec/grpo.md §Losses (`constant` is Dr.GRPO, arXiv 2503.20783 §3.2).
// Invariant: weights are those of the whole batch, so gradients of micro-batches add up to the batch's gradient exactly.

export type Normalisation = 'token' | 'sequence' | 'constant';

/** What the weights of a batch depend on. */
export interface BatchExtent {
  /** completion tokens of every sequence of the batch, each ≥ 1 */
  readonly lengths: readonly number[];
  /** the recipe's limit, in tokens */
  readonly maxNewTokens: number;
}

type WeightRule = (extent: BatchExtent) => number[];

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const WEIGHTS: Readonly<Record<Normalisation, WeightRule>> = {
  token: ({ lengths }) => lengths.map(() => 1 / sum(lengths)),
  sequence: ({ lengths }) => lengths.map((length) => 1 / (lengths.length * length)),
  constant: ({ lengths, maxNewTokens }) => lengths.map(() => 1 / (lengths.length * maxNewTokens)),
};

/**
 * The weight that each token of a sequence has in the loss.
 * @returns one number a sequence of the batch
 */
export function tokenWeights(normalisation: Normalisation, extent: BatchExtent): number[] {
  return WEIGHTS[normalisation](extent);
}
