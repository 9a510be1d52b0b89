// The completion graph: what follows prompts that were read before (prefill.ts with `caches`), whole completions in one pass.
// A prompt that several completions share is computed once, and only completions have a head.
// Inputs: the weights, `input_ids` int32[batch, tokens] (right-padded), `prefix.of` int32[batch] (which prompt each row
// follows), `prefix.lengths` int32[prefixes], for each layer `prefix.key.N`, `prefix.value.N` float32[prefixes, kvHeads,
// prefix, headDim], of which tokens from a prompt's length on are not read as long as they are finite (`prefix` ≥ 1).
// Outputs: `hidden` [batch, tokens, d] after the final norm, and for each token `logits` [batch, tokens, vocabulary], raw,
// or the scores of scoring.ts; or only what a cache takes up, as of prefill.ts: `new.key.N`, `new.value.N`.

import type { ModelConfig } from '../config.ts';
import { GraphBuilder } from '../graph/builder.ts';
import {
  add,
  cast,
  concat,
  expand,
  fusedMatMul,
  gather,
  gemm,
  less,
  lessOrEqual,
  range,
  reshape,
  softmax,
  transpose,
  where,
} from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { type BuiltGraph, finishGraph } from './built-graph.ts';
import { cacheNames } from './decode.ts';
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
} from './layers.ts';
import { nameScores } from './scoring.ts';

/** Names of one layer's inputs: a prefill's `new.key.N` and `new.value.N` go there. */
export function prefixNames(layer: number): { readonly key: string; readonly value: string } {
  return { key: `prefix.key.${layer}`, value: `prefix.value.${layer}` };
}

export function buildCompletionGraph(config: ModelConfig, output: 'scores' | 'logits' | 'caches'): BuiltGraph {
  const graph = new GraphBuilder('completion');
  const weights = declareWeights(graph, config);
  const ids = graph.input('input_ids', 'int32', ['batch', 'tokens']);
  const of = graph.input('prefix.of', 'int32', ['batch']);
  const lengths = gather(graph.input('prefix.lengths', 'int32', ['prefixes']), of);
  const placement: Placement = {
    rotated: (heads) => ['batch', 'tokens', heads * config.headDim],
    positions: add(reshape(cast(lengths, 'int64'), ['batch', 1]), reshape(range(graph, 'tokens'), [1, 'tokens'])),
    tables: rotaryTables(graph, config),
  };
  const shape = ['prefixes', config.keyValueHeads, 'prefix', config.headDim] as const;
  let mask: Value | null = null;
  let rows = embed(weights, ids, ['batch*tokens']);
  for (let layer = 0; layer < config.layers; layer++) {
    const names = prefixNames(layer);
    const keys = gather(graph.input(names.key, 'float32', shape), of);
    const values = gather(graph.input(names.value, 'float32', shape), of);
    mask ??= seenMask(graph, lengths);
    const normed = norm(weights, config, `model.layers.${layer}.input_layernorm`, rows);
    const fresh = projections(weights, config, layer, normed, placement);
    const [key, value] = [fresh.key, fresh.value].map((x) => byHead(config, x, config.keyValueHeads)) as [Value, Value];
    if (output === 'caches') {
      graph.output(cacheNames(layer).newKey, key);
      graph.output(cacheNames(layer).newValue, value);
    }
    const queries = byHead(config, fresh.query, config.heads);
    const attended = attention(config, queries, concat([keys, key], 2), concat([values, value], 2), mask);
    rows = linear(weights, `model.layers.${layer}.self_attn.o_proj`, attended, rows);
    rows = feedForward(weights, config, layer, rows);
  }
  if (output === 'caches') return finishGraph(graph);
  const hidden = norm(weights, config, 'model.norm', rows);
  graph.output('hidden', reshape(hidden, ['batch', 'tokens', config.hiddenSize]));
  if (output === 'scores') nameScores(graph, config, weights, hidden);
  else {
    const logits = gemm(hidden, headWeight(weights, config), { transB: true });
    graph.output('logits', reshape(logits, ['batch', 'tokens', config.vocabSize]));
  }
  return finishGraph(graph);
}

/** [batch, 1, tokens, prefix + tokens]: 0 for the prompt's tokens and for those of the completion up to one's own. */
function seenMask(graph: GraphBuilder, lengths: Value): Value {
  const additive = (seen: Value): Value =>
    where(seen, graph.scalar('float32', 0), graph.scalar('float32', MASKED_SCORE));
  const isPrompt = less(cast(range(graph, 'prefix'), 'int32'), reshape(lengths, ['batch', 1, 1]));
  const index = range(graph, 'tokens');
  const isBefore = lessOrEqual(reshape(index, [1, 1, 'tokens']), reshape(index, [1, 'tokens', 1]));
  const masks = [
    expand(additive(isPrompt), ['batch', 'tokens', 'prefix']),
    expand(additive(isBefore), ['batch', 'tokens', 'tokens']),
  ];
  return reshape(concat(masks, -1), ['batch', 1, 'tokens', '(prefix+tokens)']);
}

/** [batch·tokens, n·headDim] to [batch, n, tokens, headDim]. */
function byHead({ headDim }: ModelConfig, x: Value, count: number): Value {
  return transpose(reshape(x, ['batch', 'tokens', count, headDim]), [0, 2, 1, 3]);
}

/** Grouped-query attention over [prompt, completion]: the queries of one key head lie under each other. */
function attention(config: ModelConfig, query: Value, keys: Value, values: Value, mask: Value): Value {
  const { heads, keyValueHeads, headDim } = config;
  const all = keys.shape[2]!;
  const grouped = ['batch', keyValueHeads, `${heads / keyValueHeads}*tokens`] as const;
  const queries = reshape(query, [...grouped, headDim]);
  const scores = fusedMatMul(queries, keys, { transB: true, alpha: 1 / Math.sqrt(headDim) });
  const shares = softmax(add(reshape(scores, ['batch', heads, 'tokens', all]), mask));
  const mixed = fusedMatMul(reshape(shares, [...grouped, all]), values);
  const attended = transpose(reshape(mixed, ['batch', heads, 'tokens', headDim]), [0, 2, 1, 3]);
  return reshape(attended, ['batch*tokens', heads * headDim]);
}
