// The engine itself, on whichever thread it is made: batches in, optimizer steps out. ONNX Runtime blocks this thread.
// Source: spec/grpo.md. Invariant: a step is whole or it did not happen; gradients of micro-batches add up to the batch's.

import { parseModelConfig } from '../../node/model/config.ts';
import { loadModelFolder } from '../../node/model/folder.ts';
import { parseJson } from '../../node/model/small-files.ts';
import type { Weights } from '../../node/model/weights.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import { newestCheckpoint, saveCheckpoint } from '../checkpoint.ts';
import { tokenWeights } from '../grpo/normalise.ts';
import { staleness } from '../grpo/staleness.ts';
import { initWeights } from '../init-weights.ts';
import { initAdapters } from '../lora.ts';
import type { Parameter } from '../optim/adamw.ts';
import { clipScale, globalNorm } from '../optim/clip.ts';
import { learningRateAt } from '../optim/schedule.ts';
import type { EngineSource, SftSequence, TrainingEngine, TrainingEngineInit, TrainSequence } from './engine.ts';
import { createGrowingSessions, type GrowingSessions } from './growing-sessions.ts';
import { createInterruption, type Interruption } from './interruption.ts';
import {
  gatherRows,
  type MicroBatch,
  microBatches,
  microBatchTokens,
  type PromptedSequence,
  scatterRows,
} from './micro-batch.ts';
import { createLearner, type Learner } from './parameters.ts';
import { createSessions, type GraphRunner, type Grids, readsOld } from './sessions.ts';
import { createSnapshots } from './snapshot.ts';

type Completion = Pick<TrainSequence, 'prompt' | 'tokens'>;

const completion = ({ prompt, tokens }: Completion): PromptedSequence => ({ prompt, tokens });

/** What all micro-batches of a step come to; gradients are in the learner's sums. */
interface Totals {
  readonly scalars: Readonly<Record<string, number>>;
  /** per sequence, over its counted tokens */
  readonly logprobs: readonly Float32Array[];
  readonly entropySum: number;
}

async function loadSource(source: EngineSource): Promise<{ configJson: string; weights: Weights }> {
  if ('folder' in source) return loadModelFolder(source.folder);
  if ('weights' in source) return source;
  const config = parseModelConfig(parseJson(source.configJson, 'config.json'));
  return { configJson: source.configJson, weights: initWeights(config, source.seed) };
}

/** What comes before the first token to learn is the prompt; at least the first token is. @param sequence two tokens or more */
function prompted({ tokens, mask }: SftSequence): PromptedSequence {
  const first = mask.indexOf(1, 1);
  const from = first < 0 ? tokens.length - 1 : first;
  return { prompt: tokens.subarray(0, from), tokens: tokens.subarray(from), mask: mask.subarray(from) };
}

const sum = (values: Iterable<number>): number => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};

/** Runs every micro-batch and adds up. @throws INTERRUPTED between two of them, and after the last */
async function accumulate(
  { interruption, maxTokens }: Core,
  runner: GraphRunner,
  sequences: readonly PromptedSequence[],
  gridsOf: (batch: MicroBatch) => Grids,
): Promise<Totals> {
  const scalars: Record<string, number> = {};
  const logprobs: Float32Array[] = new Array(sequences.length);
  let entropySum = 0;
  for (const batch of microBatches(sequences, maxTokens)) {
    interruption.check();
    const result = await runner.run(batch, gridsOf(batch));
    for (const [name, value] of Object.entries(result.scalars)) scalars[name] = (scalars[name] ?? 0) + value;
    for (const [index, values] of gatherRows(batch, result.logprobs, (at) => sequences[at]!.tokens.length))
      logprobs[index] = values;
    entropySum += sum(result.entropy);
  }
  // Whoever was told that the last one was given up is not to find its step taken.
  interruption.check();
  return { scalars, logprobs, entropySum };
}

/** The same from zero, gradients included. */
function accumulateGradients(...args: Parameters<typeof accumulate>): Promise<Totals> {
  for (const gradient of args[0].learner.gradients) gradient.fill(0);
  return accumulate(...args);
}

/** What the functions of an open engine share. */
interface Core {
  readonly init: TrainingEngineInit;
  readonly learner: Learner;
  readonly sessions: GrowingSessions;
  readonly maxTokens: number;
  readonly interruption: Interruption;
}

function refuseEmpty(sequences: readonly PromptedSequence[]): void {
  const empty = sequences.findIndex(({ prompt, tokens }) => prompt.length === 0 || tokens.length === 0);
  if (sequences.length > 0 && empty < 0) return;
  const message =
    sequences.length === 0 ? 'a batch without sequences' : `sequence ${empty} has no prompt, or nothing after it`;
  throw new SwarmError('INTERNAL', `nothing to learn from: ${message}; drop it before batching`);
}

async function logprobsUnder(
  core: Core,
  sequences: readonly Completion[],
  kind: 'logprobs' | 'reference',
): Promise<readonly Float32Array[]> {
  if (sequences.length === 0) return [];
  refuseEmpty(sequences);
  const runner = await core.sessions.get(kind, sequences);
  return (await accumulate(core, runner, sequences.map(completion), () => ({}))).logprobs;
}

/** @returns the global norm of the gradients. @throws NON_FINITE_STEP */
function finiteNorm({ learner }: Core, loss: number): number {
  const gradientNorm = globalNorm(learner.gradients);
  const step = learner.optimizerStep() + 1;
  if (!Number.isFinite(loss)) {
    throw new SwarmError('NON_FINITE_STEP', `the loss of optimizer step ${step} is ${loss}: the step was not taken`, {
      what: 'loss',
      step,
    });
  }
  if (!Number.isFinite(gradientNorm)) {
    const at = learner.gradients.findIndex((gradient) => !Number.isFinite(globalNorm([gradient])));
    const tensor = learner.parameters[at]?.name ?? 'all tensors together';
    throw new SwarmError(
      'NON_FINITE_STEP',
      `the gradient of ${tensor} at optimizer step ${step} is not finite: the step was not taken`,
      { what: 'gradient', step, tensor },
    );
  }
  return gradientNorm;
}

/** Checks, clips and applies gradients. */
function applyStep(core: Core, loss: number, learningRate: number): number {
  const gradientNorm = finiteNorm(core, loss);
  core.learner.step(core.init.optimizer, learningRate, clipScale(gradientNorm, core.init.clipNorm));
  return gradientNorm;
}

async function sft(core: Core, demonstrations: readonly SftSequence[]): ReturnType<TrainingEngine['sft']> {
  const sequences = demonstrations.filter(({ tokens }) => tokens.length > 1).map(prompted);
  refuseEmpty(sequences);
  const counted = sum(sequences.map(({ mask }) => sum(mask!)));
  const weight = 1 / Math.max(1, counted);
  const runner = await core.sessions.get('imitation', sequences);
  const totals = await accumulateGradients(core, runner, sequences, (batch) => ({
    weights: { data: batch.mask.map((on) => on * weight), columns: batch.width },
  }));
  const learningRate = learningRateAt(core.init.schedule, core.learner.optimizerStep());
  const gradientNorm = applyStep(core, totals.scalars.loss!, learningRate);
  return { loss: totals.scalars.loss!, gradientNorm, learningRate, optimizerStep: core.learner.optimizerStep() };
}

/** The policy gradient of a batch, left in the learner's sums. */
async function policyGradient(
  core: Core,
  sequences: readonly TrainSequence[],
  weights: readonly number[],
): Promise<Totals> {
  refuseEmpty(sequences);
  const needsOld = readsOld(core.init) && sequences.some(({ logprobsOld }) => logprobsOld === undefined);
  const recomputed = needsOld ? await logprobsUnder(core, sequences, 'logprobs') : [];
  const reference = core.init.objective.klCoef === 0 ? [] : await logprobsUnder(core, sequences, 'reference');
  const runner = await core.sessions.get('policy', sequences);
  return accumulateGradients(core, runner, sequences.map(completion), (batch) => {
    const grid = (value: (index: number, k: number) => number) => ({
      data: scatterRows(batch, value),
      columns: batch.width,
    });
    return {
      weights: grid((index, k) => weights[index]! * (sequences[index]!.mask?.[k] ?? 1)),
      logprobs_worker: grid((index, k) => sequences[index]!.logprobsWorker[k]!),
      logprobs_old: grid((index, k) => (sequences[index]!.logprobsOld ?? recomputed[index])?.[k] ?? 0),
      logprobs_reference: grid((index, k) => reference[index]?.[k] ?? 0),
      advantages: { data: Float32Array.from(batch.indices, (index) => sequences[index]?.advantage ?? 0), columns: 1 },
    };
  });
}

function weightsOf({ init: { objective } }: Core, sequences: readonly TrainSequence[]): number[] {
  const lengths = sequences.map(({ tokens }) => tokens.length);
  return tokenWeights(objective.normalisation, { lengths, maxNewTokens: objective.maxNewTokens });
}

async function rehearse(core: Core, sequences: readonly TrainSequence[]): Promise<void> {
  const { scalars } = await policyGradient(core, sequences, weightsOf(core, sequences));
  finiteNorm(core, scalars.loss!);
}

async function update(
  core: Core,
  sequences: readonly TrainSequence[],
  scheduleStep: number | undefined,
): ReturnType<TrainingEngine['update']> {
  const weights = weightsOf(core, sequences);
  const totals = await policyGradient(core, sequences, weights);
  const tokens = sum(sequences.map((sequence) => sequence.tokens.length));
  const stale = staleness(
    totals.logprobs,
    sequences.map(({ logprobsWorker }) => logprobsWorker),
  );
  const brake = core.init.slowWhenStale ? Math.sqrt(stale.essShare) : 1;
  const learningRate = learningRateAt(core.init.schedule, scheduleStep ?? core.learner.optimizerStep()) * brake;
  const gradientNorm = applyStep(core, totals.scalars.loss!, learningRate);
  const allWeight = sum(weights.map((weight, index) => weight * sequences[index]!.tokens.length));
  return {
    loss: totals.scalars.loss!,
    entropy: totals.entropySum / tokens,
    gradientNorm,
    ...stale,
    clippedLowShare: (totals.scalars.clipped_low ?? 0) / allWeight,
    clippedHighShare: (totals.scalars.clipped_high ?? 0) / allWeight,
    maskedShare: sum(sequences.map(({ mask }) => (mask === undefined ? 0 : mask.length - sum(mask)))) / tokens,
    learningRate,
    tokens,
    sequences: sequences.length,
    optimizerStep: core.learner.optimizerStep(),
  };
}

/** The model that training began with, for the KL term: adapters leave it as it was, else it is copied. */
function referenceOf({ frozen, parameters }: Learner): readonly Parameter[] {
  return frozen.length > 0 ? frozen : parameters.map((parameter) => ({ ...parameter, data: parameter.data.slice() }));
}

/**
 * Opens an engine on this thread; `createTrainingEngine` does so on a thread of its own.
 * @throws UNSUPPORTED_MODEL, MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, MODEL_TENSOR_MISMATCH, NON_FINITE_WEIGHT, ENGINE_FAILED
 */
export async function openTrainingCore(
  init: TrainingEngineInit,
  interruption: Interruption = createInterruption(),
): Promise<TrainingEngine> {
  const { configJson, weights } = await loadSource(init.source);
  const config = parseModelConfig(parseJson(configJson, 'config.json'));
  const { lora } = init;
  const learner = createLearner(weights, lora ? { settings: lora, adapters: initAdapters(config, lora, 0) } : null);
  const reference = init.objective.klCoef === 0 ? [] : referenceOf(learner);
  const core: Core = {
    init,
    learner,
    sessions: createGrowingSessions(config, (sized) => createSessions(sized, init, learner, reference)),
    maxTokens: microBatchTokens(init),
    interruption,
  };
  const snapshots = createSnapshots(() => learner.policy());
  return {
    logprobs: async (sequences) => [...(await logprobsUnder(core, sequences, 'logprobs'))],
    update: (sequences, scheduleStep) => update(core, sequences, scheduleStep),
    rehearse: (sequences) => rehearse(core, sequences),
    sft: (sequences) => sft(core, sequences),
    policy: async () => snapshots.take(),
    interrupt: () => interruption.interrupt(),
    saveCheckpoint: (dir, meta) => saveCheckpoint(dir, learner.checkpoint(meta)),
    async restore(dir) {
      const found = await newestCheckpoint(dir);
      if (found === null) return null;
      learner.restore(found.checkpoint);
      return { path: found.path, meta: found.checkpoint.meta, skipped: found.skipped };
    },
    close: () => core.sessions.release(),
  };
}
