// What a decode graph says of each row's next token. Everywhere but in tests that is the distribution after temperature,
// float32, so that the exponentials are ONNX Runtime's; of a large vocabulary only the part leaves the graph that the
// draw needs: sums over chunks of ids, and for each uniform number the chunks that it may fall into.
// Invariant: with 'chunks' nothing of size [batch × vocabulary] leaves the graph.

import type { ModelConfig } from '../config.ts';
import type { GraphBuilder } from '../graph/builder.ts';
import { add, cast, gather, gemm, greater, matMul, max, min, mul, reduceSum, reshape, softmax } from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { type GraphWeights, headWeight } from './layers.ts';
import { chunkCount, scaledLogits } from './scoring.ts';

/**
 * `logits` [batch, vocabulary], raw. The others take `temperature` (float32 scalar) and `vocabulary_mask`
 * float32[vocabulary] (added to the logits). `probabilities`: `probabilities` [batch, vocabulary]. `chunks`: of uniform
 * numbers u, `picks.row` int32[picks] (whose row) and `picks.near` float32[picks, 2] (a little less than u and than 1 − u),
 * it gives `sums` [batch, chunks], `picks.chunk` int32[picks, 2] (the first and the last chunk that u may fall into) and
 * `picks.probabilities` [picks, 2, vocabulary / chunks] (of the ids there).
 */
export type NextTokenOutput = 'logits' | 'probabilities' | 'chunks';

/** Vocabularies up to here leave the graph whole: the choice of a chunk costs a dozen nodes. */
const MAX_WHOLE_VOCABULARY = 4096;

/** What to ask a graph for where every id is to be drawn from, and where cuts have to see them all. */
export function outputFor(vocabSize: number, hasCut: boolean): NextTokenOutput {
  return hasCut || vocabSize <= MAX_WHOLE_VOCABULARY || chunkCount(vocabSize) < 8 ? 'probabilities' : 'chunks';
}

/** @param hidden [batch, d] */
export function nameNextToken(
  graph: GraphBuilder,
  config: ModelConfig,
  weights: GraphWeights,
  hidden: Value,
  output: NextTokenOutput,
): void {
  if (output === 'logits') {
    graph.output('logits', gemm(hidden, headWeight(weights, config), { transB: true }));
    return;
  }
  const temperature = graph.input('temperature', 'float32', []);
  const mask = graph.input('vocabulary_mask', 'float32', [config.vocabSize]);
  const p = softmax(scaledLogits(config, weights, hidden, temperature, mask));
  if (output === 'probabilities') graph.output('probabilities', p);
  else nameChunks(graph, config, p);
}

/**
 * Sums over the chunks up to each, and from each on, are one product with two triangles of ones: float32 sums are exact to
 * relative precision where they are small, so each end of the CDF is looked for from its own side.
 */
function nameChunks(graph: GraphBuilder, { vocabSize }: ModelConfig, p: Value): void {
  const chunks = chunkCount(vocabSize);
  const width = vocabSize / chunks;
  const rows = graph.input('picks.row', 'int32', ['picks']);
  const near = graph.input('picks.near', 'float32', ['picks', 2]);
  const sums = reduceSum(reshape(p, ['batch', chunks, width]), { axes: [-1] });
  const running = gather(matMul(sums, graph.constant(triangles(chunks), [chunks, 2 * chunks])), rows);
  const over = greater(reshape(running, ['picks', 2, chunks]), reshape(near, ['picks', 2, 1]));
  const count = reduceSum(cast(over, 'int32'), { axes: [-1] });
  const found = add(mul(count, graph.constantInt32([-1, 1])), graph.constantInt32([chunks, -1]));
  const chunk = max(min(found, chunks - 1), 0);
  graph.output('sums', sums);
  graph.output('picks.chunk', chunk);
  const at = add(mul(reshape(rows, ['picks', 1]), chunks), chunk);
  graph.output('picks.probabilities', gather(reshape(p, [`${chunks}*batch`, width]), at));
}

/** [chunks, 2·chunks]: column j sums chunks 0 … j, column chunks + j sums j … chunks − 1. */
function triangles(chunks: number): Float32Array {
  const ones = new Float32Array(2 * chunks * chunks);
  for (let from = 0; from < chunks; from++) {
    ones.fill(1, from * 2 * chunks + from, from * 2 * chunks + chunks);
    ones.fill(1, from * 2 * chunks + chunks, from * 2 * chunks + chunks + from + 1);
  }
  return ones;
}
