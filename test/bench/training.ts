// Training: forward + backward + AdamW of whole updates against plain Gemm, and the share that is not the graph's.
// FLOPs: 6·N·tokens for the matrices and 12·layers·tokens·T·d for attention, the usual count (PaLM, arXiv 2204.02311, appendix B).

import { openTrainingCore } from '../../trainer/engine/core.ts';
import type { TrainingEngineInit, TrainSequence } from '../../trainer/engine/engine.ts';
import { ADAMW_DEFAULTS } from '../../trainer/optim/adamw.ts';
import { type RandomModel, randomNumbers } from '../support/random-model.ts';
import { createGemmPeer } from './gemm.ts';
import { type Benchmark, median, medianRatio, millisecondsOf, type Row, row, watchSessionRuns } from './harness.ts';
import { mediumModel, parameterCount } from './shapes.ts';

const SEQUENCES = 16;
const TOKENS = 128;
const ROUNDS = 9;
const WARM_UPS = 2;

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
      maxNewTokens: TOKENS,
    },
    temperature: 1,
    optimizer: ADAMW_DEFAULTS,
    schedule: { learningRate: 1e-6, warmupSteps: 0 },
    clipNorm: 1,
    threads,
    ...more,
  };
}

/** Random completions of equal length, each under a prompt of one token of its own: nothing is shared, all is learned from. */
export function fullBatch(vocabSize: number, sequences: number, tokens: number): TrainSequence[] {
  const random = randomNumbers(3);
  const draw = (length: number): Uint32Array => Uint32Array.from({ length }, () => Math.floor(random() * vocabSize));
  return Array.from({ length: sequences }, (_, k) => ({
    prompt: Uint32Array.of(k % vocabSize),
    tokens: draw(tokens),
    advantage: k % 2 === 0 ? 1 : -1,
    logprobsWorker: new Float32Array(tokens).fill(-8),
  }));
}

/** FLOPs of an update on `tokens` tokens in sequences of `length`. */
export function updateFlops({ config }: RandomModel, tokens: number, length: number): number {
  const { layers, heads, headDim } = config;
  return 6 * parameterCount(config) * tokens + 12 * layers * tokens * length * heads * headDim;
}

async function run({ threads }: { readonly threads: number }): Promise<readonly Row[]> {
  const model = mediumModel();
  const engine = await openTrainingCore(engineInit(model, threads, { microBatchTokens: 2 * SEQUENCES * TOKENS }));
  const batch = fullBatch(model.config.vocabSize, SEQUENCES, TOKENS);
  const peer = await createGemmPeer(model.config, SEQUENCES * TOKENS, threads);
  const flops = updateFlops(model, SEQUENCES * TOKENS, TOKENS);
  const clock = await watchSessionRuns();
  const updates: number[] = [];
  const outsides: number[] = [];
  const gemmSpeeds: number[] = [];
  for (let k = 0; k < WARM_UPS + ROUNDS; k++) {
    const gemm = await peer.run();
    clock.reset();
    const update = await millisecondsOf(() => engine.update(batch));
    if (k < WARM_UPS) continue;
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
      name: `training: forward + backward + AdamW, 5.6 M, ${SEQUENCES} × ${TOKENS}`,
      value: median(speeds),
      unit: 'GFLOP/s',
      peer: 'ONNX Runtime Gemm, same layer shapes',
      peerValue: median(gemmSpeeds),
      ratio: medianRatio(speeds, gemmSpeeds),
      target: { of: 'ratio', atLeast: GEMM_SHARE },
    }),
    row({
      name: 'training: outside session.run, 5.6 M',
      value: median(outsides),
      unit: 'ms',
      peer: 'the whole update',
      peerValue: median(updates),
      ratio: medianRatio(outsides, updates),
      target: { of: 'ratio', atMost: OUTSIDE_SHARE },
    }),
  ];
}

export const training: Benchmark = { name: 'training', run };
