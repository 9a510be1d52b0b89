// Training: forward + backward + AdamW of whole updates against plain Gemm, and the share that is not the graph's.
// FLOPs: 6·N·tokens for the matrices and 12·layers·tokens·T·d for attention, the usual count (PaLM, arXiv 2204.02311, appendix B).

import { openTrainingCore } from '../../trainer/engine/core.ts';
import type { TrainingEngineInit, TrainSequence } from '../../trainer/engine/engine.ts';
import { ADAMW_DEFAULTS } from '../../trainer/optim/adamw.ts';
import { type RandomModel, randomNumbers } from '../support/random-model.ts';
import { createGemmPeer } from './gemm.ts';
import {
  type BenchContext,
  type Benchmark,
  median,
  medianRatio,
  millisecondsOf,
  type Row,
  row,
  watchSessionRuns,
} from './harness.ts';
import { largeModel, mediumModel, parameterCount } from './shapes.ts';

/** Equal completions, and what of them is one micro-batch: the peer's products have as many rows. */
interface Load {
  readonly sequences: number;
  readonly tokens: number;
  readonly microBatchTokens: number;
  readonly microBatches: number;
  readonly rounds: number;
  readonly warmUps: number;
}

const MEDIUM: Load = { sequences: 16, tokens: 128, microBatchTokens: 4096, microBatches: 1, rounds: 9, warmUps: 2 };
/** Of the trainer's default size: 8 completions and their token of prompt are 1017. */
const LARGE: Load = { sequences: 16, tokens: 127, microBatchTokens: 1024, microBatches: 2, rounds: 3, warmUps: 1 };

/** The least share of plain Gemm's speed, and the most that what is not the graph may take of an update. */
const GEMM_SHARE = 0.85;
const OUTSIDE_SHARE = 0.1;

/** An engine's settings for speed: a loss that reads no other log-probs, all threads. */
export function engineInit(
  { configJson, weights }: RandomModel,
  threads: number,
  more: Partial<TrainingEngineInit> = {},
): TrainingEngineInit {
  return {
    source: { configJson, weights },
    objective: {
      loss: 'aipo',
      lossSettings: {},
      klCoef: 0,
      entropyCoef: 0,
      normalisation: 'token',
      maxNewTokens: 128,
    },
    temperature: 1,
    optimizer: ADAMW_DEFAULTS,
    schedule: { learningRate: 1e-6, warmUpSteps: 0 },
    clipNorm: 1,
    threads,
    ...more,
  };
}

/** Random completions of equal length under one prompt of one token: all is learned from. */
export function fullBatch(vocabSize: number, sequences: number, tokens: number): TrainSequence[] {
  const random = randomNumbers(3);
  const draw = (length: number): Uint32Array => Uint32Array.from({ length }, () => Math.floor(random() * vocabSize));
  return Array.from({ length: sequences }, (_, k) => ({
    prompt: Uint32Array.of(1),
    tokens: draw(tokens),
    advantage: k % 2 === 0 ? 1 : -1,
    logprobsWorker: new Float32Array(tokens).fill(-8),
  }));
}

/** FLOPs of an update on `tokens` tokens in sequences of `length`. */
function updateFlops({ config }: RandomModel, tokens: number, length: number): number {
  const { layers, heads, headDim } = config;
  return 6 * parameterCount(config) * tokens + 12 * layers * tokens * length * heads * headDim;
}

/** Rows of one model: updates and plain products in turns. */
async function speedRows(name: string, model: RandomModel, load: Load, threads: number): Promise<Row[]> {
  const { sequences, tokens, microBatchTokens, microBatches } = load;
  const peer = await createGemmPeer(model.config, (sequences * tokens) / microBatches, threads);
  const flops = updateFlops(model, sequences * tokens, tokens);
  const batch = fullBatch(model.config.vocabSize, sequences, tokens);
  const engine = await openTrainingCore(engineInit(model, threads, { microBatchTokens }));
  const clock = await watchSessionRuns();
  const updates: number[] = [];
  const outsides: number[] = [];
  const gemmSpeeds: number[] = [];
  for (let k = 0; k < load.warmUps + load.rounds; k++) {
    const gemm = await peer.run();
    clock.reset();
    const update = await millisecondsOf(() => engine.update(batch));
    if (k < load.warmUps) continue;
    updates.push(update);
    outsides.push(update - clock.milliseconds());
    gemmSpeeds.push(gemm.flops / gemm.milliseconds / 1e6);
  }
  clock.stop();
  await peer.release();
  await engine.close();
  const speeds = updates.map((milliseconds) => flops / milliseconds / 1e6);
  return [
    row({
      name: `training: forward + backward + AdamW, ${name}, ${sequences} × ${tokens}`,
      value: median(speeds),
      unit: 'GFLOP/s',
      peer: 'ONNX Runtime Gemm, same layer shapes',
      peerValue: median(gemmSpeeds),
      ratio: medianRatio(speeds, gemmSpeeds),
      target: { of: 'ratio', atLeast: GEMM_SHARE },
    }),
    row({
      name: `training: outside session.run, ${name}`,
      value: median(outsides),
      unit: 'ms',
      peer: 'the whole update',
      peerValue: median(updates),
      ratio: medianRatio(outsides, updates),
      target: { of: 'ratio', atMost: OUTSIDE_SHARE },
    }),
  ];
}

export const training: Benchmark = {
  name: 'training',
  run: ({ threads }: BenchContext) => speedRows('5.6 M', mediumModel(), MEDIUM, threads),
};

export const trainingLarge: Benchmark = {
  name: 'training-135m',
  run: ({ threads }: BenchContext) => speedRows('135 M', largeModel(), LARGE, threads),
};
