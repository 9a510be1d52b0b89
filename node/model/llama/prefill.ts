// The prefill graph: whole right-padded sequences in one pass, for filling a cache and before a completion graph.
// Inputs: the weights, `input_ids` int32[batch, tokens], and for the last token's logits `lengths` int32[batch] (≥ 1).
// Invariant: nothing of size [tokens × vocabulary] leaves the graph unless `logits: 'all'` asks for it.

import type { ModelConfig } from '../config.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { add, cast, dimTensor, gather, gemm, mul, range, reshape, sub } from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { type BuiltGraph, finishGraph } from './built-graph.ts';
import { cacheNames } from './decode.ts';
import { headWeight } from './layers.ts';
import { type SequenceForward, sequenceForward } from './sequence.ts';

export interface PrefillOptions {
  /** `hidden` [batch, tokens, d], after the final norm. Default true. */
  readonly hidden?: boolean;
  /** `new.key.N`, `new.value.N` [batch, kvHeads, tokens, headDim] of each layer. Default false. */
  readonly caches?: boolean;
  /** `logits`, raw: all [batch, tokens, vocabulary], or each last token's [batch, vocabulary]. */
  readonly logits?: 'none' | 'all' | 'last';
}

export function buildPrefillGraph(config: ModelConfig, options: PrefillOptions = {}): BuiltGraph {
  const graph = new GraphBuilder('prefill');
  const forward = sequenceForward(graph, config);
  if (options.hidden ?? true) {
    graph.output('hidden', reshape(forward.hidden, ['batch', 'tokens', config.hiddenSize]));
  }
  if (options.caches) {
    for (let layer = 0; layer < config.layers; layer++) {
      const { newKey, newValue } = cacheNames(layer);
      graph.output(newKey, forward.keys[layer]!);
      graph.output(newValue, forward.values[layer]!);
    }
  }
  if (options.logits === 'all') {
    const logits = gemm(forward.hidden, headWeight(forward.weights, config), { transB: true });
    graph.output('logits', reshape(logits, ['batch', 'tokens', config.vocabSize]));
  }
  if (options.logits === 'last') graph.output('logits', lastLogits(graph, config, forward));
  return finishGraph(graph);
}

/** Logits at row lengths − 1 of each sequence. */
function lastLogits(graph: GraphBuilder, config: ModelConfig, { weights, hidden }: SequenceForward): Value {
  const lengths = cast(graph.input('lengths', 'int32', ['batch']), 'int64');
  const first = mul(range(graph, 'batch'), dimTensor(graph, 'tokens'));
  const rows = gather(hidden, sub(add(first, lengths), 1));
  return gemm(rows, headWeight(weights, config), { transB: true });
}
