// Puts prompts that a prefill has read into a cache that stays on its device: rows under the rows that are there.
// Inputs, for each layer: `cache.key.N`, `cache.value.N` [held, kvHeads, cache, headDim], `new.key.N`, `new.value.N`
// [batch, kvHeads, tokens, headDim], tokens ≤ cache. Outputs: `next.key.N`, `next.value.N` [held + batch, …].

import type { ModelConfig } from '../config.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { concat, dimTensor, pad, sub } from '../graph/ops.ts';
import { type BuiltGraph, finishGraph } from './built-graph.ts';
import { cacheNames } from './decode.ts';

export function buildAppendRowsGraph(config: ModelConfig): BuiltGraph {
  const graph = new GraphBuilder('append-rows');
  const { keyValueHeads, headDim, layers } = config;
  const append = (held: string, fresh: string, next: string): void => {
    const rows = graph.input(held, 'float32', ['held', keyValueHeads, 'cache', headDim]);
    const more = graph.input(fresh, 'float32', ['batch', keyValueHeads, 'tokens', headDim]);
    const missing = sub(dimTensor(graph, 'cache'), dimTensor(graph, 'tokens'));
    graph.output(next, concat([rows, pad(more, 2, graph.constantInt64([0]), missing, 'cache')], 0));
  };
  for (let layer = 0; layer < layers; layer++) {
    const { key, value, newKey, newValue, nextKey, nextValue } = cacheNames(layer);
    append(key, newKey, nextKey);
    append(value, newValue, nextValue);
  }
  return finishGraph(graph);
}
