// The decode graph: one token a sequence, over a cache that the host owns, or that stays on a device.
// Inputs: the weights, `input_ids` int32[batch], `lengths` int32[batch] (cached rows of each sequence, which is also the
// new token's position), and for each layer `cache.key.N`, `cache.value.N` float32[batch, kvHeads, cache, headDim], of
// which rows from `lengths` on are not read as long as they are finite. `cache` ≥ 1.
// Outputs: what is asked of the next token (next-token.ts), `hidden` [batch, d] (after the final norm), and for each layer
// the new rows `new.key.N`, `new.value.N` [batch, kvHeads, headDim], for the host to write at row `lengths`.
// On a device the cache's rows may be more than the batch and in another order: `cache_rows` int32[batch] says which of them
// each sequence reads, and instead of new rows it gives `next.key.N`, `next.value.N`: those rows, the new ones written.
// A step reads the whole cache, filled or not, so its capacity should follow the longest sequence: attention is some
// 43 % of a step of the starter model at 128 rows, 30 % at 48; weights as initializers save 0…15 % (measured, batch 64).
// Weights are read as float32 though they are bf16: ONNX Runtime 1.30 has no MatMul of bf16 on the CPU, widens f16 when a session
// opens, and its MatMulNBits takes 8 bits at most. A Cast from bf16 before each product makes the product 1.06, 1.6, 1.4 times as
// long at batch 1, 8, 64 in the layers of the 135 M shape, 2.2, 4.2, 1.7 in its head (measured, CPU time of one thread, AVX2).
// At batch 1 a step is the reading of its weights, at the speed of memory: 540 MB of the 135 M shape in 47…58 ms, where one thread
// looks through memory for a byte at 10…14 GB/s; all but the products takes 5 ms of it. At batch 8 the products take 1.4 times as
// long and all else 10 ms. Nothing is won by one product for q, k and v and one for gate and up (1.0…1.07), by a head in 12 or 96
// parts or transposed, or by huge pages (0.95…1.1) (measured, CPU time of one thread, AVX2, a busy machine).

import type { ModelConfig } from '../config.ts';
import { GraphBuilder } from '../graph/builder.ts';
import {
  add,
  cast,
  concat,
  equal,
  fusedMatMul,
  gather,
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

/** Input of a graph whose cache stays on its device. */
export const CACHE_ROWS = 'cache_rows';

/** Names of one layer's cache inputs, new-row outputs, and outputs of a cache that stays on its device. */
export function cacheNames(layer: number): {
  readonly key: string;
  readonly value: string;
  readonly newKey: string;
  readonly newValue: string;
  readonly nextKey: string;
  readonly nextValue: string;
} {
  return {
    key: `cache.key.${layer}`,
    value: `cache.value.${layer}`,
    newKey: `new.key.${layer}`,
    newValue: `new.value.${layer}`,
    nextKey: `next.key.${layer}`,
    nextValue: `next.value.${layer}`,
  };
}

/** Whose the cache is. */
export type CacheKeeper = 'host' | 'device';

/** One step of generation for a batch of sequences of unlike lengths. */
export function buildDecodeGraph(
  config: ModelConfig,
  output: NextTokenOutput = 'logits',
  keeper: CacheKeeper = 'host',
): BuiltGraph {
  const graph = new GraphBuilder('decode');
  const weights = declareWeights(graph, config);
  const ids = graph.input('input_ids', 'int32', ['batch']);
  const lengths = graph.input('lengths', 'int32', ['batch']);
  const placement = decodePlacement(graph, config, lengths);
  const products = keeper === 'host' && config.heads > config.keyValueHeads ? 'each' : 'grouped';
  let rows = embed(weights, ids, ['batch']);
  let mask: Value | null = null;
  for (let layer = 0; layer < config.layers; layer++) {
    const names = cacheNames(layer);
    const keys = cacheInput(graph, config, names.key, keeper);
    const values = cacheInput(graph, config, names.value, keeper);
    mask ??= cacheMask(graph, lengths, products);
    const at = `model.layers.${layer}`;
    const normed = norm(weights, config, `${at}.input_layernorm`, rows);
    const { query, key, value } = projections(weights, config, layer, normed, placement);
    if (keeper === 'device') {
      graph.output(names.nextKey, written(config, keys, key, lengths));
      graph.output(names.nextValue, written(config, values, value, lengths));
    } else {
      const row = ['batch', config.keyValueHeads, config.headDim] as const;
      graph.output(names.newKey, reshape(key, row));
      graph.output(names.newValue, reshape(value, row));
    }
    const attended = cachedAttention(config, query, { key, value }, { keys, values }, mask, products);
    rows = linear(weights, `${at}.self_attn.o_proj`, attended, rows);
    rows = feedForward(weights, config, layer, rows);
  }
  const hidden = norm(weights, config, 'model.norm', rows);
  nameNextToken(graph, config, weights, hidden, output);
  graph.output('hidden', hidden);
  return finishGraph(graph);
}

/** One layer's keys or values, [batch, kvHeads, cache, headDim]. */
function cacheInput(graph: GraphBuilder, config: ModelConfig, name: string, keeper: CacheKeeper): Value {
  const shape = [config.keyValueHeads, 'cache', config.headDim] as const;
  if (keeper === 'host') return graph.input(name, 'float32', ['batch', ...shape]);
  const known = graph.inputs.find((input) => input.name === CACHE_ROWS);
  return gather(graph.input(name, 'float32', ['held', ...shape]), known ?? graph.input(CACHE_ROWS, 'int32', ['batch']));
}

/** The rows of a cache with the new ones at their lengths. */
function written(config: ModelConfig, cache: Value, fresh: Value, lengths: Value): Value {
  const positions = cast(range(cache.graph, 'cache'), 'int32');
  const isNew = reshape(equal(positions, reshape(lengths, ['batch', 1])), ['batch', 1, 'cache', 1]);
  return where(isNew, reshape(fresh, ['batch', config.keyValueHeads, 1, config.headDim]), cache);
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

/**
 * How the queries that share a key head meet its keys: as the rows of one product, or each in a product of its own, for which
 * MLAS has kernels that read the keys in place: 0.55…0.85 of the time where the cache is long or the batch large, 0.9…1.2 where
 * neither, for 2, 3, 4 and 7 queries a key head; a step of the 135 M shape over 512 tokens 0.8…0.95 (measured, CPU time, AVX2).
 */
type Products = 'grouped' | 'each';

/** [batch, 1, 1, cache], or what of that rank `each` needs: 0 where the row is filled, else MASKED_SCORE. */
function cacheMask(graph: GraphBuilder, lengths: Value, products: Products): Value {
  const filled = less(cast(range(graph, 'cache'), 'int32'), reshape(lengths, ['batch', 1]));
  const mask = where(filled, graph.scalar('float32', 0), graph.scalar('float32', MASKED_SCORE));
  return reshape(mask, ['batch', 1, ...apart(products), 1, 'cache']);
}

/** The axis that tells apart the queries of one key head. */
function apart(products: Products, count = 1): readonly number[] {
  return products === 'each' ? [count] : [];
}

/**
 * Attention over [cache, new row] without joining the two: scores are joined, value products are added. No key is repeated in
 * memory for the queries that share it.
 */
function cachedAttention(
  config: ModelConfig,
  query: Value,
  now: { readonly key: Value; readonly value: Value },
  cache: { readonly keys: Value; readonly values: Value },
  mask: Value,
  products: Products,
): Value {
  const { heads, keyValueHeads, headDim } = config;
  const group = heads / keyValueHeads;
  const rows = products === 'each' ? 1 : group;
  const queries = reshape(query, ['batch', keyValueHeads, ...apart(products, group), rows, headDim]);
  const newRow = ['batch', keyValueHeads, ...apart(products), 1, headDim] as const;
  const [keys, values] = [cache.keys, cache.values].map((x) =>
    reshape(x, ['batch', keyValueHeads, ...apart(products), 'cache', headDim]),
  ) as [Value, Value];
  const past = add(fusedMatMul(queries, keys, { transB: true }), mask);
  const present = reduceSum(mul(queries, reshape(now.key, newRow)), { axes: [-1], keepDims: true });
  const shares = softmax(concat([past, present], -1));
  const fromCache = matMul(slice(shares, -1, 0, 'cache'), values);
  const fromNow = mul(slice(shares, -1, 'cache', 1), reshape(now.value, newRow));
  return reshape(add(fromCache, fromNow), ['batch', heads * headDim]);
}
