// Joins a model's forward pass, a loss and its gradients into one graph; and the forward half alone, for log-probs.
// Inputs: the weights under their own names, those of forward.ts, `targets` int32[groups·members, tokens] (the token that each
// completion row predicts), `mask` float32 of that shape (1 where a target counts), `temperature` float32 scalar, what
// the loss declares, and with `accumulate` for each gradient a `sum.<weight name>` that it is added to.
// Outputs: `loss`, `logprobs`, `entropy` (both 0 outside of the mask), `grad.<weight name>`.

import type { ModelConfig } from '../node/model/config.ts';
import { GraphBuilder } from '../node/model/graph/builder.ts';
import { mul, reciprocal, reshape, slice } from '../node/model/graph/ops.ts';
import type { Value } from '../node/model/graph/value.ts';
import { type BuiltGraph, finishGraph } from '../node/model/llama/built-graph.ts';
import { declareWeights, type GraphWeights, headWeight } from '../node/model/llama/layers.ts';
import { gradients } from './autodiff/gradients.ts';
import { createTape, type Tape } from './autodiff/tape.ts';
import { type ForwardOptions, GRID, groupedForward } from './forward.ts';
import { tokenScores } from './head.ts';
import { type LoraSettings, withAdapters } from './lora.ts';

/** What a loss is made of; all [sequences, tokens]. */
export interface TrainingTensors {
  /** log softmax(logits / temperature)[target], 0 outside of the mask; gradients flow through it */
  readonly logprobs: Value;
  /** entropy of the same distribution in nats, 0 outside of the mask; gradients flow through it */
  readonly entropy: Value;
  /** 1 where a target counts, else 0 */
  readonly mask: Value;
}

export interface TrainingGraphOptions extends ForwardOptions {
  /** ids from here on have no token and probability 0; default: the whole vocabulary */
  readonly tokenCount?: number;
  /** ids whose logits are held at once; default: all */
  readonly chunkIds?: number;
  /** learn adapters of these projections, and nothing else */
  readonly lora?: LoraSettings;
  /** add gradients to inputs, for batches in parts; default false */
  readonly accumulate?: boolean;
}

/** Builds a scalar from the tensors; may declare inputs of its own and name further outputs. */
export type LossBuilder = (graph: GraphBuilder, tensors: TrainingTensors) => Value;

/** Name of the output that holds a weight's gradient. */
export function gradientName(weight: string): string {
  return `grad.${weight}`;
}

/** Name of the input that a weight's gradient is added to. */
export function sumName(weight: string): string {
  return `sum.${weight}`;
}

interface Scored extends TrainingTensors {
  /** what learns, by name */
  readonly trainable: ReadonlyMap<string, Value>;
  readonly tape: Tape;
}

/** The weights that the graph reads, and those of them that learn. */
function declare(
  graph: GraphBuilder,
  config: ModelConfig,
  lora: LoraSettings | undefined,
): { readonly weights: GraphWeights; readonly trainable: ReadonlyMap<string, Value> } {
  const base = declareWeights(graph, config);
  if (!lora) return { weights: base, trainable: base.all };
  const { weights, adapters } = withAdapters(graph, config, base, lora);
  return { weights, trainable: adapters };
}

function scored(graph: GraphBuilder, config: ModelConfig, options: TrainingGraphOptions): Scored {
  const { weights, trainable } = declare(graph, config, options.lora);
  const tape = createTape(graph);
  const hidden = groupedForward(graph, tape, config, weights, options);
  const targets = graph.input('targets', 'int32', GRID);
  const mask = graph.input('mask', 'float32', GRID);
  const temperature = graph.input('temperature', 'float32', []);
  const { tokenCount = config.vocabSize, chunkIds = config.vocabSize } = options;
  const whole = headWeight(weights, config);
  const matrix = tokenCount < config.vocabSize ? slice(whole, 0, 0, tokenCount) : whole;
  // The temperature divides the hidden states (d of them) instead of the logits (vocabulary of them): the same product.
  const scaled = mul(hidden, reciprocal(temperature));
  const { logprobs, entropy } = tokenScores(tape, scaled, matrix, reshape(targets, [hidden.shape[0]!]), chunkIds);
  const masked = (column: Value): Value => mul(reshape(column, GRID), mask);
  return { trainable, tape, mask, logprobs: masked(logprobs), entropy: masked(entropy) };
}

/**
 * Forward, loss and gradients of all weights that learn (a tied head has one).
 * @throws {GraphError} where the loss is no scalar or does not fit
 */
export function buildTrainingGraph(
  config: ModelConfig,
  loss: LossBuilder,
  options: TrainingGraphOptions = {},
): BuiltGraph {
  const graph = new GraphBuilder('training');
  const { trainable, tape, ...tensors } = scored(graph, config, options);
  const total = loss(graph, tensors);
  graph.output('loss', total);
  graph.output('logprobs', tensors.logprobs);
  graph.output('entropy', tensors.entropy);
  const wrt = [...trainable];
  const sums = new Map(
    options.accumulate ? wrt.map(([name, value]) => [value, graph.input(sumName(name), 'float32', value.shape)]) : [],
  );
  const found = gradients(
    graph,
    total,
    wrt.map(([, value]) => value),
    { tape, sums },
  );
  for (const [k, [name]] of wrt.entries()) graph.output(gradientName(name), found[k]!);
  return finishGraph(graph);
}

/** Forward only: `logprobs`, by the same operators as in training. */
export function buildLogprobGraph(config: ModelConfig, options: TrainingGraphOptions = {}): BuiltGraph {
  const graph = new GraphBuilder('logprobs');
  graph.output('logprobs', scored(graph, config, options).logprobs);
  return finishGraph(graph);
}
