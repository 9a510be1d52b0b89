// The graph that other runtimes run: several tokens a sequence over a cache that goes in and comes out, any padding.
// Names as transformers.js (and optimum) expect them. Inputs: the weights, `input_ids`, `position_ids`
// int64[batch_size, sequence_length], `attention_mask` int64[batch_size, past + sequence] (0 for padding),
// `past_key_values.N.key` and `.value` float32[batch_size, kvHeads, past_sequence_length, headDim], and
// `num_logits_to_keep` int64 scalar: logits of so many last positions, 0 for all of them.
// Outputs: `logits` [batch_size, kept, vocabulary] and `present.N.key`, `present.N.value`: past and new rows joined.

import type { ModelConfig } from '../config.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { addDims } from '../graph/dim.ts';
import {
  add,
  and,
  concat,
  dimTensor,
  equal,
  fusedMatMul,
  gemm,
  greater,
  lessOrEqual,
  range,
  reshape,
  sliceBetween,
  softmax,
  sub,
  transpose,
  where,
} from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import {
  declareWeights,
  embed,
  feedForward,
  headWeight,
  linear,
  MASKED_SCORE,
  norm,
  type Placement,
  projections,
  rotaryTables,
} from '../llama/layers.ts';

/** Where others run the model its own length counts; a table of so many rows and headDim 128 takes 67 MB. */
const MAX_POSITIONS = 131_072;

const BATCH = 'batch_size';
const NEW = 'sequence_length';
const PAST = 'past_sequence_length';
const KEPT = 'kept_logits';
const GRID = [BATCH, NEW] as const;
const ROWS = `${BATCH}*${NEW}`;

interface Layer {
  readonly past: { readonly keys: Value; readonly values: Value };
  readonly present: { readonly keys: Value; readonly values: Value };
}

/** Weights are the graph's inputs under Hugging Face's names; `encodeModel` can make them initializers. */
export function buildDecoderGraph(config: ModelConfig): GraphBuilder {
  const graph = new GraphBuilder('decoder');
  const ids = graph.input('input_ids', 'int64', GRID);
  const attentionMask = graph.input('attention_mask', 'int64', [BATCH, addDims([PAST, NEW])]);
  const positions = graph.input('position_ids', 'int64', GRID);
  const pasts = Array.from({ length: config.layers }, (_, layer) => pastInputs(graph, config, layer));
  const kept = graph.input('num_logits_to_keep', 'int64', []);
  const weights = declareWeights(graph, config);
  const placement: Placement = {
    rotated: (heads) => [BATCH, NEW, heads * config.headDim],
    positions,
    tables: rotaryTables(graph, { ...config, maxPositions: Math.min(config.maxPositions, MAX_POSITIONS) }),
  };
  const mask = scoreMask(graph, attentionMask);
  let rows = embed(weights, ids, [ROWS]);
  for (const [layer, past] of pasts.entries()) {
    const at = `model.layers.${layer}`;
    const normed = norm(weights, config, `${at}.input_layernorm`, rows);
    const { query, key, value } = projections(weights, config, layer, normed, placement);
    const present = {
      keys: concat([past.keys, byHead(config, key, config.keyValueHeads)], 2),
      values: concat([past.values, byHead(config, value, config.keyValueHeads)], 2),
    };
    graph.output(`present.${layer}.key`, present.keys);
    graph.output(`present.${layer}.value`, present.values);
    const attended = attention(config, byHead(config, query, config.heads), present, mask);
    rows = linear(weights, `${at}.self_attn.o_proj`, attended, rows);
    rows = feedForward(weights, config, layer, rows);
  }
  const last = lastRows(graph, config, rows, kept);
  const hidden = norm(weights, config, 'model.norm', last);
  const logits = gemm(hidden, headWeight(weights, config), { transB: true });
  graph.output('logits', reshape(logits, [BATCH, KEPT, config.vocabSize]));
  return graph;
}

function pastInputs(graph: GraphBuilder, config: ModelConfig, layer: number): Layer['past'] {
  const shape = [BATCH, config.keyValueHeads, PAST, config.headDim] as const;
  return {
    keys: graph.input(`past_key_values.${layer}.key`, 'float32', shape),
    values: graph.input(`past_key_values.${layer}.value`, 'float32', shape),
  };
}

/** [batch·tokens, heads·headDim] to [batch, heads, tokens, headDim]. */
function byHead(config: ModelConfig, x: Value, heads: number): Value {
  return transpose(reshape(x, [...GRID, heads, config.headDim]), [0, 2, 1, 3]);
}

/** [batch, 1, tokens, past + tokens]: 0 where the column is no padding and not to the right, else MASKED_SCORE. */
function scoreMask(graph: GraphBuilder, attentionMask: Value): Value {
  const total = attentionMask.shape[1]!;
  const columns = reshape(range(graph, total), [1, total]);
  const rows = add(reshape(range(graph, NEW), [NEW, 1]), dimTensor(graph, PAST));
  const causal = reshape(lessOrEqual(columns, rows), [1, 1, NEW, total]);
  const real = reshape(greater(attentionMask, 0), [BATCH, 1, 1, total]);
  return where(and(causal, real), graph.scalar('float32', 0), graph.scalar('float32', MASKED_SCORE));
}

/** Grouped-query attention: the queries of one key head lie under each other, so that no key is repeated. */
function attention(config: ModelConfig, query: Value, { keys, values }: Layer['present'], mask: Value): Value {
  const { heads, keyValueHeads, headDim } = config;
  const total = keys.shape[2]!;
  const grouped = [BATCH, keyValueHeads, `${heads / keyValueHeads}*${NEW}`] as const;
  const scores = fusedMatMul(reshape(query, [...grouped, headDim]), keys, {
    transB: true,
    alpha: 1 / Math.sqrt(headDim),
  });
  const shares = softmax(add(reshape(scores, [BATCH, heads, NEW, total]), mask));
  const mixed = fusedMatMul(reshape(shares, [...grouped, total]), values);
  const attended = transpose(reshape(mixed, [BATCH, heads, NEW, headDim]), [0, 2, 1, 3]);
  return reshape(attended, [ROWS, heads * headDim]);
}

/** Rows of the last `kept` positions of each sequence, of all where it is 0: [batch·kept, d]. */
function lastRows(graph: GraphBuilder, config: ModelConfig, rows: Value, kept: Value): Value {
  const tokens = dimTensor(graph, NEW);
  const count = reshape(kept, [1]);
  const from = where(equal(count, 0), 0, sub(tokens, count));
  const grid = reshape(rows, [...GRID, config.hiddenSize]);
  return reshape(sliceBetween(grid, 1, from, tokens, KEPT), [`${BATCH}*${KEPT}`, config.hiddenSize]);
}
