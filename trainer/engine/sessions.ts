// The three graphs of an engine as ONNX Runtime sessions, made when first needed: log-probs, imitation, policy gradient.
// Invariant: weights are fed from the arrays that the learner updates; nothing of them is copied into a session.
// Shapes change with every micro-batch: an arena keeps the peak of each, and memory patterns keep a plan for each shape.
// Without both a 5.6 M model takes 591 MB instead of 789, in the same CPU time (measured, micro-batches of 1024 tokens).

import { Tensor } from 'onnxruntime-node';
import type { ModelConfig } from '../../node/model/config.ts';
import { modelFor, openSession } from '../../node/model/engine/open-session.ts';
import { mul, neg, reduceSum } from '../../node/model/graph/ops.ts';
import type { BuiltGraph } from '../../node/model/llama/built-graph.ts';
import { LOSSES } from '../grpo/losses.ts';
import { buildPolicyLoss } from '../grpo/policy-loss.ts';
import type { Parameter } from '../optim/adamw.ts';
import { buildLogprobGraph, buildTrainingGraph, gradientName, type LossBuilder } from '../training-graph.ts';
import type { TrainingEngineInit } from './engine.ts';
import type { MicroBatch } from './micro-batch.ts';

/** Grids a loss may ask for beside ids, targets and mask: [rows, width], or [rows, 1] for `advantages`. */
export type Grids = Readonly<Record<string, { readonly data: Float32Array; readonly columns: number }>>;

export interface GraphResult {
  readonly scalars: Readonly<Record<string, number>>;
  /** [rows, width] */
  readonly logprobs: Float32Array;
  readonly entropy: Float32Array;
  /** in the order of the parameters; [] for the forward graph */
  readonly gradients: readonly Float32Array[];
}

export interface GraphRunner {
  run(batch: MicroBatch, grids: Grids): Promise<GraphResult>;
  release(): Promise<void>;
}

/** −Σ weights·logprob: cross entropy, with the normalisation in the weights. */
const imitationLoss: LossBuilder = (graph, { logprobs }) =>
  neg(reduceSum(mul(logprobs, graph.input('weights', 'float32', ['batch', 'tokens']))));

function policyGradientLoss(objective: TrainingEngineInit['objective']): LossBuilder {
  return (graph, { logprobs, entropy, mask }) => {
    const grid = (name: string) => graph.input(name, 'float32', ['batch', 'tokens']);
    const result = buildPolicyLoss(
      {
        logprobs,
        entropy,
        mask,
        logprobsWorker: grid('logprobs_worker'),
        logprobsOld: grid('logprobs_old'),
        logprobsReference: objective.klCoef === 0 ? null : grid('logprobs_reference'),
        weights: grid('weights'),
        advantages: graph.input('advantages', 'float32', ['batch', 1]),
      },
      objective,
    );
    if (result.clippedLow) graph.output('clipped_low', result.clippedLow);
    if (result.clippedHigh) graph.output('clipped_high', result.clippedHigh);
    return result.loss;
  };
}

async function createRunner(
  graph: BuiltGraph,
  init: TrainingEngineInit,
  parameters: readonly Parameter[],
): Promise<GraphRunner> {
  const session = await openSession(modelFor(graph, init.device), init);
  const wanted = new Set(graph.inputs.map(({ name }) => name));
  const fixed: Record<string, Tensor> = { temperature: new Tensor('float32', Float32Array.of(init.temperature), []) };
  for (const { name, data, shape } of parameters) fixed[name] = new Tensor('float32', data, shape);
  const scalarNames = graph.outputs.filter(({ shape }) => shape.length === 0).map(({ name }) => name);
  const hasGradients = graph.outputs.some(({ name }) => name === gradientName(parameters[0]!.name));
  return {
    release: () => session.release(),
    async run(batch, grids) {
      const rows = batch.indices.length;
      const feeds: Record<string, Tensor> = {
        ...fixed,
        input_ids: new Tensor('int32', batch.inputIds, [rows, batch.width]),
        targets: new Tensor('int32', batch.targets, [rows, batch.width]),
        mask: new Tensor('float32', batch.mask, [rows, batch.width]),
      };
      for (const [name, { data, columns }] of Object.entries(grids))
        feeds[name] = new Tensor('float32', data, [rows, columns]);
      const results = await session.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name))));
      const values = (name: string): Float32Array => results[name]!.data as Float32Array;
      return {
        scalars: Object.fromEntries(scalarNames.map((name) => [name, values(name)[0]!])),
        logprobs: values('logprobs'),
        entropy: values('entropy'),
        gradients: hasGradients ? parameters.map(({ name }) => values(gradientName(name))) : [],
      };
    },
  };
}

export type GraphKind = 'logprobs' | 'imitation' | 'policy';

export interface Sessions {
  /** @param parameters weights to run under; the session of a kind keeps those of its first call unless `label` differs */
  get(kind: GraphKind, parameters: readonly Parameter[], label?: string): Promise<GraphRunner>;
  release(): Promise<void>;
}

/** Builds graphs on demand. @throws DEVICE_UNAVAILABLE, ENGINE_FAILED, GraphError */
export function createSessions(config: ModelConfig, init: TrainingEngineInit): Sessions {
  const open = new Map<string, Promise<GraphRunner>>();
  const options = init.tokenCount === undefined ? {} : { tokenCount: init.tokenCount };
  const builders: Readonly<Record<GraphKind, () => BuiltGraph>> = {
    logprobs: () => buildLogprobGraph(config, options),
    imitation: () => buildTrainingGraph(config, imitationLoss, options),
    policy: () => buildTrainingGraph(config, policyGradientLoss(init.objective), options),
  };
  return {
    get(kind, parameters, label = 'current') {
      const key = `${kind}:${label}`;
      const known = open.get(key) ?? createRunner(builders[kind](), init, parameters);
      open.set(key, known);
      return known;
    },
    async release() {
      for (const runner of open.values()) await (await runner).release();
      open.clear();
    },
  };
}

/** Whether the loss of `init` reads log-probs under the weights before the batch. */
export const readsOld = (init: TrainingEngineInit): boolean => LOSSES[init.objective.loss].readsOld;
