// Scores of given tokens, computed inside the graph: nothing of size [tokens × vocabulary] leaves it.

import type { ModelConfig } from '../config.ts';
import type { GraphBuilder } from '../graph/builder.ts';
import { multiplyDims } from '../graph/dim.ts';
import {
  add,
  cast,
  div,
  gather,
  gatherElements,
  gemm,
  greater,
  less,
  log,
  max,
  mul,
  range,
  reciprocal,
  reduceSum,
  reshape,
  softmax,
  sub,
  where,
} from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { type GraphWeights, headWeight, MASKED_SCORE } from './layers.ts';

/** Additive mask [vocabulary] of ids that have no token; null when every id has one. */
export function paddedVocabularyMask(config: ModelConfig, tokenCount: number): Float32Array | null {
  if (tokenCount >= config.vocabSize) return null;
  return Float32Array.from({ length: config.vocabSize }, (_, id) => (id < tokenCount ? 0 : MASKED_SCORE));
}

/**
 * Logits / temperature, [rows, vocabulary].
 * The temperature divides the hidden states (d of them) instead of the logits (vocabulary of them): the same product.
 * @param hidden [rows, d]
 * @param temperature float32 scalar
 * @param vocabularyMask float32[vocabulary], added
 */
export function scaledLogits(
  config: ModelConfig,
  weights: GraphWeights,
  hidden: Value,
  temperature: Value,
  vocabularyMask: Value | null,
): Value {
  const scaled = mul(hidden, reciprocal(temperature));
  return gemm(scaled, headWeight(weights, config), {
    transB: true,
    ...(vocabularyMask ? { bias: vocabularyMask } : {}),
  });
}

/** How many chunks a vocabulary is seen as: a divisor near its square root. */
export function chunkCount(vocabSize: number): number {
  let count = Math.floor(Math.sqrt(vocabSize));
  while (vocabSize % count !== 0) count--;
  return count;
}

/** Smallest normal float32: log-probs end at −87.3, far below what a checked rollout may claim. */
const SMALLEST_PROBABILITY = 2 ** -126;

/**
 * Where each row's target lies in softmax(logits / temperature), [batch, tokens] each: its `logprobs`, its `probability`,
 * `below` and `above`: the sums over smaller and over larger ids, each summed for itself, so that small ones are exact to
 * float32's relative precision.
 * Adds the inputs `targets` int32[batch, tokens] (the token that follows each), `temperature` float32 scalar and
 * `vocabulary_mask` float32[vocabulary] (added to the logits: 0, or MASKED_SCORE for ids that have no token).
 * @param hidden [batch·tokens, d]
 */
export function nameScores(graph: GraphBuilder, config: ModelConfig, weights: GraphWeights, hidden: Value): void {
  const grid = ['batch', 'tokens'] as const;
  const targets = reshape(graph.input('targets', 'int32', grid), ['batch*tokens', 1]);
  const temperature = graph.input('temperature', 'float32', []);
  const mask = graph.input('vocabulary_mask', 'float32', [config.vocabSize]);
  const p = softmax(scaledLogits(config, weights, hidden, temperature, mask));
  const probability = gatherElements(p, targets);
  const { below, above } = sumsAround(graph, config, p, targets);
  graph.output('logprobs', reshape(log(max(probability, SMALLEST_PROBABILITY)), grid));
  graph.output('probability', reshape(probability, grid));
  graph.output('below', reshape(below, grid));
  graph.output('above', reshape(above, grid));
}

/**
 * Σ p over ids below and above each row's target, [rows]. A vocabulary is summed in chunks first, and only the target's own
 * chunk is looked at id by id: whole rows are read once and never copied.
 */
function sumsAround(
  graph: GraphBuilder,
  { vocabSize }: ModelConfig,
  p: Value,
  targets: Value,
): { readonly below: Value; readonly above: Value } {
  const rows = p.shape[0]!;
  const chunks = chunkCount(vocabSize);
  const width = vocabSize / chunks;
  const ids = (count: number): Value => graph.constantInt32(Array.from({ length: count }, (_, id) => id));
  const sumWhere = (chosen: Value, of: Value): Value => reduceSum(where(chosen, of, 0), { axes: [-1] });
  const chunk = div(targets, width);
  const inside = sub(targets, mul(chunk, width));
  const sums = reduceSum(reshape(p, [rows, chunks, width]), { axes: [-1] });
  const row = mul(range(graph, rows), chunks);
  const own = gather(
    reshape(p, [multiplyDims([rows, chunks]), width]),
    add(row, reshape(cast(chunk, 'int64'), [rows])),
  );
  return {
    below: add(sumWhere(less(ids(chunks), chunk), sums), sumWhere(less(ids(width), inside), own)),
    above: add(sumWhere(greater(ids(chunks), chunk), sums), sumWhere(greater(ids(width), inside), own)),
  };
}
