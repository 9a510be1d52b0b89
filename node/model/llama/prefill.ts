// The prefill graph: whole right-padded sequences in one pass, for filling a cache, for replay and for proofs.
// Inputs: the weights, `input_ids` int32[batch, tokens], and as the options ask: `lengths` int32[batch] (≥ 1),
// `targets` int32[batch, tokens] (the token that follows each), `temperature` float32 scalar, `vocabulary_mask`
// float32[vocabulary] (added to the logits: 0, or MASKED_SCORE for ids that have no token).
// Invariant: nothing of size [tokens × vocabulary] leaves the graph unless `logits: 'all'` asks for it.

import type { ModelConfig } from '../config.ts';
import { GraphBuilder } from '../graph/builder.ts';
import {
  add,
  cast,
  dimTensor,
  gather,
  gatherElements,
  gemm,
  greater,
  less,
  log,
  max,
  mul,
  range,
  reduceSum,
  reshape,
  softmax,
  sub,
  where,
} from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { type BuiltGraph, finishGraph } from './built-graph.ts';
import { cacheNames } from './decode.ts';
import { headWeight } from './layers.ts';
import { scaledLogits } from './scoring.ts';
import { type SequenceForward, sequenceForward } from './sequence.ts';

export interface PrefillOptions {
  /** `hidden` [batch, tokens, d], after the final norm. Default true. */
  readonly hidden?: boolean;
  /** `new.key.N`, `new.value.N` [batch, kvHeads, tokens, headDim] of each layer. Default false. */
  readonly caches?: boolean;
  /**
   * Of the distribution softmax(logits / temperature) at each position, [batch, tokens]: `logprobs` of the target,
   * `probability` of it, `below` and `above`: the sums over smaller and over larger ids, each summed for itself, so that
   * small ones are exact to float32's relative precision. Default false.
   */
  readonly scores?: boolean;
  /** `logits`, before the temperature and the mask: all [batch, tokens, vocabulary], or each last token's [batch, vocabulary]. */
  readonly logits?: 'none' | 'all' | 'last';
}

/** Smallest normal float32: log-probs end at −87.3, far below what a checked rollout may claim. */
const SMALLEST_PROBABILITY = 2 ** -126;

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
  if (options.scores) nameScores(graph, config, forward);
  if (options.logits === 'all') {
    const logits = gemm(forward.hidden, headWeight(forward.weights, config), { transB: true });
    graph.output('logits', reshape(logits, ['batch', 'tokens', config.vocabSize]));
  }
  if (options.logits === 'last') graph.output('logits', lastLogits(graph, config, forward));
  return finishGraph(graph);
}

function nameScores(graph: GraphBuilder, config: ModelConfig, { weights, hidden }: SequenceForward): void {
  const grid = ['batch', 'tokens'] as const;
  const targets = reshape(graph.input('targets', 'int32', grid), ['batch*tokens', 1]);
  const temperature = graph.input('temperature', 'float32', []);
  const mask = graph.input('vocabulary_mask', 'float32', [config.vocabSize]);
  const p = softmax(scaledLogits(config, weights, hidden, temperature, mask));
  const ids = graph.constantInt32(Array.from({ length: config.vocabSize }, (_, id) => id));
  const sumWhere = (chosen: Value): Value => reshape(reduceSum(where(chosen, p, 0), { axes: [-1] }), grid);
  const probability = reshape(gatherElements(p, targets), grid);
  graph.output('logprobs', log(max(probability, SMALLEST_PROBABILITY)));
  graph.output('probability', probability);
  graph.output('below', sumWhere(less(ids, targets)));
  graph.output('above', sumWhere(greater(ids, targets)));
}

/** Logits at row lengths − 1 of each sequence. */
function lastLogits(graph: GraphBuilder, config: ModelConfig, { weights, hidden }: SequenceForward): Value {
  const lengths = cast(graph.input('lengths', 'int32', ['batch']), 'int64');
  const first = mul(range(graph, 'batch'), dimTensor(graph, 'tokens'));
  const rows = gather(hidden, sub(add(first, lengths), 1));
  return gemm(rows, headWeight(weights, config), { transB: true });
}
