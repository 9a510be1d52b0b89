// The decode graph: one token a sequence, over a cache that the host owns.
// Inputs: the weights, `input_ids` int32[batch], `lengths` int32[batch] (cached rows of each sequence, which is also the
// new token's position), and for each layer `cache.key.N`, `cache.value.N` float32[batch, kvHeads, cache, headDim], of
// which rows from `lengths` on are not read as long as they are finite. `cache` ≥ 1.
// Outputs: what is asked of the next token (next-token.ts), `hidden` [batch, d] (after the final norm), and for each layer
// the new rows `new.key.N`, `new.value.N` [batch, kvHeads, headDim], for the host to write at row `lengths`.
// A step reads the whole cache, filled or not, so its capacity should follow the longest sequence: attention is some
// 43 % of a step of the starter model at 128 rows, 30 % at 48; weights as initializers save 0…15 % (measured, batch 64).

import type { ModelConfig } from '../config.ts';
import { GraphBuilder } from '../graph/builder.ts';
import {
  add,
  cast,
  concat,
  fusedMatMul,
  less,
  matMul,
  mul,
  range,
  reduceSum,
  reshape,
  slice,
  softmax,
  where,
} from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { type BuiltGraph, finishGraph } from './built-graph.ts';
import {
  declareWeights,
  embed,
  feedForward,
  linear,
  MASKED_SCORE,
  norm,
  type Placement,
  projections,
  rotaryTables,
  scaledTables,
} from './layers.ts';
import { type NextTokenOutput, nameNextToken } from './next-token.ts';

/** Names of one layer's cache inputs and new-row outputs. */
export function cacheNames(layer: number): {
  readonly key: string;
  readonly value: string;
  readonly newKey: string;
  readonly newValue: string;
} {
  return {
    key: `cache.key.${layer}`,
    value: `cache.value.${layer}`,
    newKey: `new.key.${layer}`,
    newValue: `new.value.${layer}`,
  };
}

/** One step of generation for a batch of sequences of unlike lengths. */
export function buildDecodeGraph(config: ModelConfig, output: NextTokenOutput = 'logits'): BuiltGraph {
  const graph = new GraphBuilder('decode');
  const weights = declareWeights(graph, config);
  const ids = graph.input('input_ids', 'int32', ['batch']);
  const lengths = graph.input('lengths', 'int32', ['batch']);
  const placement = decodePlacement(graph, config, lengths);
  let rows = embed(weights, ids, ['batch']);
  let mask: Value | null = null;
  for (let layer = 0; layer < config.layers; layer++) {
    const names = cacheNames(layer);
    const shape = ['batch', config.keyValueHeads, 'cache', config.headDim] as const;
    const keys = graph.input(names.key, 'float32', shape);
    const values = graph.input(names.value, 'float32', shape);
    mask ??= cacheMask(graph, lengths);
    const at = `model.layers.${layer}`;
    const normed = norm(weights, config, `${at}.input_layernorm`, rows);
    const { query, key, value } = projections(weights, config, layer, normed, placement);
    const row = ['batch', config.keyValueHeads, config.headDim] as const;
    graph.output(names.newKey, reshape(key, row));
    graph.output(names.newValue, reshape(value, row));
    const attended = cachedAttention(config, query, { key, value }, { keys, values }, mask);
    rows = linear(weights, `${at}.self_attn.o_proj`, attended, rows);
    rows = feedForward(weights, config, layer, rows);
  }
  const hidden = norm(weights, config, 'model.norm', rows);
  nameNextToken(graph, config, weights, hidden, output);
  graph.output('hidden', hidden);
  return finishGraph(graph);
}

/** The score's factor 1/√headDim is put into the queries' rotation: products with alpha 1 take MLAS's one-row kernels. */
function decodePlacement(graph: GraphBuilder, config: ModelConfig, lengths: Value): Placement {
  const tables = rotaryTables(graph, config);
  return {
    rotated: (heads) => ['batch', heads, 1, config.headDim],
    positions: reshape(cast(lengths, 'int64'), ['batch', 1]),
    tables,
    queryTables: scaledTables(graph, config, 1 / Math.sqrt(config.headDim)),
  };
}

/** [batch, 1, 1, cache]: 0 where the row is filled, else MASKED_SCORE. */
function cacheMask(graph: GraphBuilder, lengths: Value): Value {
  const filled = less(cast(range(graph, 'cache'), 'int32'), reshape(lengths, ['batch', 1]));
  const mask = where(filled, graph.scalar('float32', 0), graph.scalar('float32', MASKED_SCORE));
  return reshape(mask, ['batch', 1, 1, 'cache']);
}

/**
 * Attention over [cache, new row] without joining the two: scores are joined, value products are added.
 * The queries of one key head are the rows of one product, so that no key is repeated.
 */
function cachedAttention(
  config: ModelConfig,
  query: Value,
  now: { readonly key: Value; readonly value: Value },
  cache: { readonly keys: Value; readonly values: Value },
  mask: Value,
): Value {
  const { heads, keyValueHeads, headDim } = config;
  const queries = reshape(query, ['batch', keyValueHeads, heads / keyValueHeads, headDim]);
  const newRow = ['batch', keyValueHeads, 1, headDim] as const;
  const past = add(fusedMatMul(queries, cache.keys, { transB: true }), mask);
  const present = reduceSum(mul(queries, reshape(now.key, newRow)), { axes: [-1], keepDims: true });
  const shares = softmax(concat([past, present], -1));
  const fromCache = matMul(slice(shares, -1, 0, 'cache'), cache.values);
  const fromNow = mul(slice(shares, -1, 'cache', 1), reshape(now.value, newRow));
  return reshape(add(fromCache, fromNow), ['batch', heads * headDim]);
}
