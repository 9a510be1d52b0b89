// The graphs of an engine as ONNX Runtime sessions, made when first needed: log-probs, imitation, policy gradient.
// Invariant: weights are fed from the arrays that the learner updates, and gradients are added to its sums where they lie (an
// output may be the array that an input is): nothing of a model's size is kept in a session.
// On the CPU the arena is on: without it every large tensor comes fresh from the system, and touching its pages makes
// elementwise operators twice as slow (measured, 5.6 M, 2048 tokens: 144 GFLOP/s against 129). Memory patterns would keep a
// plan for each shape, and shapes change with every micro-batch.

import { Tensor } from 'onnxruntime-node';
import type { ModelConfig } from '../../node/model/config.ts';
import { modelFor, openSession } from '../../node/model/engine/open-session.ts';
import { mul, neg, reduceSum } from '../../node/model/graph/ops.ts';
import type { BuiltGraph } from '../../node/model/llama/built-graph.ts';
import { LOSSES } from '../grpo/losses.ts';
import { buildPolicyLoss } from '../grpo/policy-loss.ts';
import type { Parameter } from '../optim/adamw.ts';
import {
  buildLogprobGraph,
  buildTrainingGraph,
  gradientName,
  type LossBuilder,
  sumName,
  type TrainingGraphOptions,
} from '../training-graph.ts';
import type { TrainingEngineInit } from './engine.ts';
import { type MicroBatch, microBatchTokens } from './micro-batch.ts';
import type { Learner } from './parameters.ts';

/** Grids a loss may ask for beside ids, targets and mask: [rows, width], or [rows, 1] for `advantages`. */
export type Grids = Readonly<Record<string, { readonly data: Float32Array; readonly columns: number }>>;

export interface GraphResult {
  readonly scalars: Readonly<Record<string, number>>;
  /** [rows, width] */
  readonly logprobs: Float32Array;
  /** [rows, width]; empty for forward graphs */
  readonly entropy: Float32Array;
}

export interface GraphRunner {
  run(batch: MicroBatch, grids: Grids): Promise<GraphResult>;
  release(): Promise<void>;
}

/** −Σ weights·logprob: cross entropy, with the normalisation in the weights. */
const imitationLoss: LossBuilder = (graph, { logprobs }) =>
  neg(reduceSum(mul(logprobs, graph.input('weights', 'float32', logprobs.shape))));

function policyGradientLoss(objective: TrainingEngineInit['objective']): LossBuilder {
  return (graph, { logprobs, entropy, mask }) => {
    const grid = (name: string) => graph.input(name, 'float32', logprobs.shape);
    const result = buildPolicyLoss(
      {
        logprobs,
        entropy,
        mask,
        logprobsWorker: grid('logprobs_worker'),
        logprobsOld: grid('logprobs_old'),
        logprobsReference: objective.klCoef === 0 ? null : grid('logprobs_reference'),
        weights: grid('weights'),
        advantages: graph.input('advantages', 'float32', [logprobs.shape[0]!, 1]),
      },
      objective,
    );
    if (result.clippedLow) graph.output('clipped_low', result.clippedLow);
    if (result.clippedHigh) graph.output('clipped_high', result.clippedHigh);
    return result.loss;
  };
}

/** What a graph reads besides a batch, and the sums that its gradients go to. */
interface Bound {
  readonly weights: readonly Parameter[];
  readonly sums: ReadonlyMap<string, Parameter>;
}

const tensorOf = ({ data, shape }: Omit<Parameter, 'name'>): Tensor => new Tensor('float32', data, shape);

function batchFeeds(batch: MicroBatch, grids: Grids): Record<string, Tensor> {
  const { groups, members, promptWidth, width } = batch;
  const rows = groups * members;
  const feeds: Record<string, Tensor> = {
    prompt_ids: new Tensor('int32', batch.promptIds, [groups, promptWidth]),
    prompt_lengths: new Tensor('int32', batch.promptLengths, [groups]),
    completion_ids: new Tensor('int32', batch.completionIds, [groups, members, width]),
    targets: new Tensor('int32', batch.targets, [rows, width]),
    mask: new Tensor('float32', batch.mask, [rows, width]),
  };
  for (const [name, { data, columns }] of Object.entries(grids))
    feeds[name] = new Tensor('float32', data, [rows, columns]);
  return feeds;
}

async function createRunner(graph: BuiltGraph, init: TrainingEngineInit, bound: Bound): Promise<GraphRunner> {
  const session = await openSession(modelFor(graph, init.device), init, { enableCpuMemArena: true });
  const fixed: Record<string, Tensor> = { temperature: new Tensor('float32', Float32Array.of(init.temperature), []) };
  for (const weight of bound.weights) fixed[weight.name] = tensorOf(weight);
  const fetches: Record<string, Tensor | null> = Object.fromEntries(graph.outputs.map(({ name }) => [name, null]));
  for (const [name, sum] of bound.sums) fixed[sumName(name)] = fetches[gradientName(name)] = tensorOf(sum);
  const scalarNames = graph.outputs.filter(({ shape }) => shape.length === 0).map(({ name }) => name);
  return {
    release: () => session.release(),
    async run(batch, grids) {
      const feeds: Record<string, Tensor> = { ...fixed, ...batchFeeds(batch, grids) };
      const results = await session.run(
        Object.fromEntries(graph.inputs.map(({ name }) => [name, feeds[name]!])),
        fetches as Record<string, Tensor>,
      );
      const values = (name: string): Float32Array => (results[name]?.data ?? new Float32Array(0)) as Float32Array;
      // The binding gives a copy beside the array that was written: it goes at once, not when a collection comes round.
      for (const name of bound.sums.keys()) (values(gradientName(name)).buffer as ArrayBuffer).transfer(0);
      return {
        scalars: Object.fromEntries(scalarNames.map((name) => [name, values(name)[0]!])),
        logprobs: values('logprobs'),
        entropy: values('entropy'),
      };
    },
  };
}

/** `reference`: log-probs under the weights that training began with. */
export type GraphKind = 'logprobs' | 'reference' | 'imitation' | 'policy';

export interface Sessions {
  get(kind: GraphKind): Promise<GraphRunner>;
  release(): Promise<void>;
}

/** 58 254 ids for 1152 tokens: only larger vocabularies pay for chunks, with one more product. */
const DEFAULT_LOGIT_BYTES = 256 << 20;
/** Adapters leave the head as it is, so the way back reads nothing of the vocabulary's size: there, chunks cost no product. */
const ADAPTER_LOGIT_BYTES = 32 << 20;

/**
 * Builds graphs on demand.
 * @param reference weights of the model alone, for `reference`
 * @throws DEVICE_UNAVAILABLE, ENGINE_FAILED, GraphError
 */
export function createSessions(
  config: ModelConfig,
  init: TrainingEngineInit,
  learner: Pick<Learner, 'parameters' | 'gradients' | 'frozen'>,
  reference: readonly Parameter[] = [],
): Sessions {
  const open = new Map<GraphKind, Promise<GraphRunner>>();
  const { tokenCount, lora, recompute = false } = init;
  const { logitBytes = lora ? ADAPTER_LOGIT_BYTES : DEFAULT_LOGIT_BYTES } = init;
  const plain: TrainingGraphOptions = {
    chunkIds: Math.max(1, Math.floor(logitBytes / Float32Array.BYTES_PER_ELEMENT / microBatchTokens(init))),
    ...(tokenCount === undefined ? {} : { tokenCount }),
  };
  const options = { ...plain, ...(lora ? { lora } : {}) };
  const training = { ...options, recompute, accumulate: true };
  const weights = [...learner.frozen, ...learner.parameters];
  const sums = new Map(
    learner.parameters.map(({ name, shape }, k) => [name, { name, shape, data: learner.gradients[k]! }]),
  );
  const runners: Readonly<Record<GraphKind, () => Promise<GraphRunner>>> = {
    logprobs: () => createRunner(buildLogprobGraph(config, options), init, { weights, sums: new Map() }),
    reference: () => createRunner(buildLogprobGraph(config, plain), init, { weights: reference, sums: new Map() }),
    imitation: () => createRunner(buildTrainingGraph(config, imitationLoss, training), init, { weights, sums }),
    policy: () =>
      createRunner(buildTrainingGraph(config, policyGradientLoss(init.objective), training), init, { weights, sums }),
  };
  return {
    get(kind) {
      const runner = open.get(kind) ?? runners[kind]();
      open.set(kind, runner);
      return runner;
    },
    async release() {
      for (const runner of open.values()) await (await runner).release();
      open.clear();
    },
  };
}

/** Whether the loss of `init` reads log-probs under the weights before the batch. */
export const readsOld = (init: TrainingEngineInit): boolean => LOSSES[init.objective.loss].readsOld;
