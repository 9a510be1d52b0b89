// Log-probs of the tokens that follow, and the distributions' entropies, with a gradient of its own, in chunks of the vocabulary.
// With x = hidden/temperature [n, d], z = xWᵀ, p = softmax(z), A = pW (the mean row of W), W_t the target's row, g = ∂loss/∂lp:
//   lp = x·W_t − lse,   H = −Σ p log p = lse − x·A,   ∂x = g∘(W_t − A),   ∂W = −pᵀ(g∘x), and g∘x added at the targets' rows.
// A is worked out on the way forward, where it gives the entropy too, so the way back multiplies nothing of the vocabulary's
// size by g, and of that size only z, log p and p are ever written. With several chunks p is not kept: the way back makes it
// anew, chunk by chunk, at the price of one more product. Where a loss has a gradient by H, which is rare:
//   ∂z = −Q, Q = p ∘ (g + h∘(log p + H)), h = ∂loss/∂H,   ∂x = g∘W_t − QW,   ∂W = −Qᵀx.

import {
  add,
  concat,
  exp,
  gather,
  gemm,
  logSoftmax,
  mul,
  neg,
  reduceSum,
  slice,
  sub,
} from '../node/model/graph/ops.ts';
import type { Value } from '../node/model/graph/value.ts';
import type { Tape } from './autodiff/tape.ts';

export interface TokenScores {
  /** [n, 1] */
  readonly logprobs: Value;
  /** nats, [n, 1] */
  readonly entropy: Value;
}

/** A part of the vocabulary: rows of the head, and what is known of x against them. */
interface Chunk {
  /** [v, d] */
  readonly rows: Value;
  /** log Σ e^z over the chunk, [n, 1] */
  readonly logSum: Value;
  /** softmax over the chunk alone, [n, v] */
  readonly probabilities: Value;
  /** their mean row, [n, d] */
  readonly mean: Value;
}

const rowSum = (x: Value): Value => reduceSum(x, { axes: [-1], keepDims: true });

function chunkOf(x: Value, rows: Value): Chunk {
  const logProbs = logSoftmax(gemm(x, rows, { transB: true }));
  const probabilities = exp(logProbs);
  // z of the first id, less its log-prob
  const logSum = sub(gemm(x, slice(rows, 0, 0, 1), { transB: true }), slice(logProbs, 1, 0, 1));
  return { rows, logSum, probabilities, mean: gemm(probabilities, rows) };
}

/** The parts' means and sums as those of the whole vocabulary. */
function whole(chunks: readonly Chunk[]): { readonly logSum: Value; readonly mean: Value } {
  const [first] = chunks;
  if (chunks.length === 1) return first!;
  const shares = logSoftmax(
    concat(
      chunks.map(({ logSum }) => logSum),
      1,
    ),
  );
  const mean = chunks
    .map((chunk, k) => mul(chunk.mean, exp(slice(shares, 1, k, 1))))
    .reduce((sum, part) => add(sum, part));
  return { logSum: sub(first!.logSum, slice(shares, 1, 0, 1)), mean };
}

/**
 * Appends the head.
 * @param hidden [n, d], divided by the temperature
 * @param matrix [vocabulary, d]
 * @param targets int32[n]
 * @param chunkIds ids in one chunk
 */
export function tokenScores(tape: Tape, hidden: Value, matrix: Value, targets: Value, chunkIds: number): TokenScores {
  const vocabulary = matrix.shape[0] as number;
  // Outside of the region, so that rows of the matrix get their gradients by gather's rule.
  const targetRows = gather(matrix, targets);
  const count = Math.ceil(vocabulary / chunkIds);
  const size = Math.ceil(vocabulary / count);
  let chunks: readonly Chunk[] = [];
  const forward = (): readonly Value[] => {
    chunks = Array.from({ length: count }, (_, k) => {
      const rows = count === 1 ? matrix : slice(matrix, 0, k * size, Math.min(size, vocabulary - k * size));
      return chunkOf(hidden, rows);
    });
    const { logSum, mean } = whole(chunks);
    const beyond = sub(targetRows, mean);
    const logprobs = sub(rowSum(mul(hidden, targetRows)), logSum);
    return [logprobs, sub(rowSum(mul(hidden, beyond)), logprobs), logSum, beyond];
  };
  const [logprobs, entropy, logSum, beyond] = tape.region([hidden, matrix, targetRows], forward, ([g, h]) => {
    const scaled = g && mul(hidden, g);
    const logProbsOf = ({ rows }: Chunk): Value => gemm(hidden, rows, { transB: true, bias: neg(logSum!) });
    const joined = (parts: readonly Value[]): Value => (parts.length === 1 ? parts[0]! : concat(parts, 0));
    if (!h) {
      const gradients = chunks.map((chunk) => {
        const p = count === 1 ? chunk.probabilities : exp(logProbsOf(chunk));
        return gemm(p, neg(scaled!), { transA: true });
      });
      return [mul(beyond!, g!), joined(gradients), scaled];
    }
    const parts = chunks.map((chunk) => {
      const logProbs = logProbsOf(chunk);
      const byEntropy = mul(add(logProbs, entropy!), h);
      const q = mul(exp(logProbs), neg(g ? add(byEntropy, g) : byEntropy));
      return { hidden: gemm(q, chunk.rows), matrix: gemm(q, hidden, { transA: true }) };
    });
    const byHidden = parts.map((part) => part.hidden).reduce((sum, part) => add(sum, part));
    return [g ? add(byHidden, mul(targetRows, g)) : byHidden, joined(parts.map((part) => part.matrix)), scaled];
  }) as [Value, Value, Value, Value];
  return { logprobs, entropy };
}
