// Forward pass over whole right-padded sequences, for prefill.ts.
// Causal attention needs no padding mask: a real token never looks to the right, and what padding computes is not read.

import type { ModelConfig } from '../config.ts';
import type { GraphBuilder } from '../graph/builder.ts';
import { add, fusedMatMul, lessOrEqual, range, reshape, softmax, transpose, where } from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import {
  declareWeights,
  embed,
  feedForward,
  type GraphWeights,
  linear,
  MASKED_SCORE,
  norm,
  type Placement,
  type Projections,
  projections,
  rotaryTables,
} from './layers.ts';

export interface SequenceForward {
  readonly weights: GraphWeights;
  /** final-norm hidden states, [batch·tokens, d] */
  readonly hidden: Value;
  /** one a layer: [batch, kvHeads, tokens, headDim] */
  readonly keys: readonly Value[];
  readonly values: readonly Value[];
}

/** Declares weights and `input_ids`, and appends the forward pass. */
export function sequenceForward(graph: GraphBuilder, config: ModelConfig): SequenceForward {
  const weights = declareWeights(graph, config);
  const ids = graph.input('input_ids', 'int32', ['batch', 'tokens']);
  const tables = rotaryTables(graph, config);
  const placement: Placement = {
    rotated: (heads) => ['batch', 'tokens', heads * config.headDim],
    positions: graph.constantInt64([0]),
    tables,
  };
  const mask = causalMask(graph);
  const keys: Value[] = [];
  const values: Value[] = [];
  let rows = embed(weights, ids, ['batch*tokens']);
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    const normed = norm(weights, config, `${at}.input_layernorm`, rows);
    const { attended, key, value } = causalAttention(
      config,
      projections(weights, config, layer, normed, placement),
      mask,
    );
    keys.push(key);
    values.push(value);
    rows = linear(weights, `${at}.self_attn.o_proj`, attended, rows);
    rows = feedForward(weights, config, layer, rows);
  }
  return { weights, hidden: norm(weights, config, 'model.norm', rows), keys, values };
}

/** [tokens, tokens]: 0 where column ≤ row, else MASKED_SCORE. */
function causalMask(graph: GraphBuilder): Value {
  const index = range(graph, 'tokens');
  const seen = lessOrEqual(reshape(index, [1, 'tokens']), reshape(index, ['tokens', 1]));
  return where(seen, graph.scalar('float32', 0), graph.scalar('float32', MASKED_SCORE));
}

/** Grouped-query attention: the queries of one key head lie under each other, so that no key is repeated. */
function causalAttention(
  config: ModelConfig,
  { query, key: keyRows, value: valueRows }: Projections,
  mask: Value,
): { readonly attended: Value; readonly key: Value; readonly value: Value } {
  const { heads, keyValueHeads, headDim } = config;
  const byHead = (x: Value, count: number): Value =>
    transpose(reshape(x, ['batch', 'tokens', count, headDim]), [0, 2, 1, 3]);
  const key = byHead(keyRows, keyValueHeads);
  const value = byHead(valueRows, keyValueHeads);
  const grouped = ['batch', keyValueHeads, `${heads / keyValueHeads}*tokens`] as const;
  const queries = reshape(byHead(query, heads), [...grouped, headDim]);
  const scores = fusedMatMul(queries, key, { transB: true, alpha: 1 / Math.sqrt(headDim) });
  const weights = softmax(add(reshape(scores, ['batch', heads, 'tokens', 'tokens']), mask));
  const mixed = fusedMatMul(reshape(weights, [...grouped, 'tokens']), value);
  const attended = transpose(reshape(mixed, ['batch', heads, 'tokens', headDim]), [0, 2, 1, 3]);
  return { attended: reshape(attended, ['batch*tokens', heads * headDim]), key, value };
}
