// Joins a model's forward pass, a loss and its gradients into one graph; and the forward half alone, for log-probs.
// Inputs: the weights under their own names, `input_ids`, `targets` int32[batch, tokens] (targets[b, t] is the token
// after ids[b, t]), `mask` float32[batch, tokens] (1 where a target counts), `temperature` float32 scalar, and what
// the loss declares. Outputs: `loss`, `logprobs`, `entropy` (both 0 outside of the mask), `grad.<weight name>`.

import type { ModelConfig } from '../node/model/config.ts';
import { GraphBuilder } from '../node/model/graph/builder.ts';
import { logSoftmax, mul } from '../node/model/graph/ops.ts';
import type { Value } from '../node/model/graph/value.ts';
import { type BuiltGraph, finishGraph } from '../node/model/llama/built-graph.ts';
import type { GraphWeights } from '../node/model/llama/layers.ts';
import { entropies, paddedVocabularyMask, scaledLogits, targetLogProbs } from '../node/model/llama/scoring.ts';
import { sequenceForward } from '../node/model/llama/sequence.ts';
import { gradients } from './autodiff/gradients.ts';

/** What a loss is made of; all [batch, tokens]. */
export interface TrainingTensors {
  /** log softmax(logits / temperature)[target], 0 outside of the mask; gradients flow through it */
  readonly logprobs: Value;
  /** entropy of the same distribution in nats, 0 outside of the mask; gradients flow through it */
  readonly entropy: Value;
  /** 1 where a target counts, else 0 */
  readonly mask: Value;
}

export interface TrainingGraphOptions {
  /** ids from here on have no token and probability 0; default: the whole vocabulary */
  readonly tokenCount?: number;
}

/** Builds a scalar from the tensors; may declare inputs of its own and name further outputs. */
export type LossBuilder = (graph: GraphBuilder, tensors: TrainingTensors) => Value;

/** Name of the output that holds a weight's gradient. */
export function gradientName(weight: string): string {
  return `grad.${weight}`;
}

function scored(
  graph: GraphBuilder,
  config: ModelConfig,
  options: TrainingGraphOptions,
): TrainingTensors & { readonly weights: GraphWeights } {
  const { weights, hidden } = sequenceForward(graph, config);
  const grid = ['batch', 'tokens'] as const;
  const targets = graph.input('targets', 'int32', grid);
  const mask = graph.input('mask', 'float32', grid);
  const temperature = graph.input('temperature', 'float32', []);
  const padding = paddedVocabularyMask(config, options.tokenCount ?? config.vocabSize);
  const logits = scaledLogits(config, weights, hidden, temperature, padding && graph.constant(padding));
  const all = logSoftmax(logits);
  return {
    weights,
    mask,
    logprobs: mul(targetLogProbs(all, targets), mask),
    entropy: mul(entropies(all, mask), mask),
  };
}

/**
 * Forward, loss and gradients of all weights (a tied head has one).
 * @throws {GraphError} where the loss is no scalar or does not fit
 */
export function buildTrainingGraph(
  config: ModelConfig,
  loss: LossBuilder,
  options: TrainingGraphOptions = {},
): BuiltGraph {
  const graph = new GraphBuilder('training');
  const { weights, ...tensors } = scored(graph, config, options);
  const total = loss(graph, tensors);
  graph.output('loss', total);
  graph.output('logprobs', tensors.logprobs);
  graph.output('entropy', tensors.entropy);
  const names = [...weights.all.keys()];
  const found = gradients(graph, total, [...weights.all.values()]);
  for (const [k, gradient] of found.entries()) graph.output(gradientName(names[k]!), gradient);
  return finishGraph(graph);
}

/** Forward only: `logprobs` and `entropy`, by the same operators as in training. */
export function buildLogprobGraph(config: ModelConfig, options: TrainingGraphOptions = {}): BuiltGraph {
  const graph = new GraphBuilder('logprobs');
  const { logprobs, entropy } = scored(graph, config, options);
  graph.output('logprobs', logprobs);
  graph.output('entropy', entropy);
  return finishGraph(graph);
}
