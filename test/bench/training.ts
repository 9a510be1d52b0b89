// Forward + backward of a GRPO update on the 5.6 M model, batch 16 × 128, against plain Gemm; and the optimizer step.
// FLOPs: 6·N·tokens for the matrices and 12·layers·tokens·T·d for attention, the usual count (PaLM, arXiv 2204.02311, appendix B).

import type { TrainingEngineInit } from '../../trainer/engine/engine.ts';
import { microBatches } from '../../trainer/engine/micro-batch.ts';
import { createLearner } from '../../trainer/engine/parameters.ts';
import { createSessions } from '../../trainer/engine/sessions.ts';
import { ADAMW_DEFAULTS } from '../../trainer/optim/adamw.ts';
import { clipScale, globalNorm } from '../../trainer/optim/clip.ts';
import { randomNumbers } from '../support/random-model.ts';
import { createGemmPeer } from './gemm.ts';
import { type Benchmark, median, medianRatio, millisecondsOf, type Row, row } from './harness.ts';
import { mediumModel, parameterCount } from './shapes.ts';

const BATCH = 16;
const TOKENS = 128;
const ROUNDS = 7;
const WARM_UPS = 2;

/** The least share of plain Gemm's speed, and the most that the optimizer may take of forward + backward. */
const GEMM_SHARE = 0.75;
const OPTIMIZER_SHARE = 0.15;

function engineInit(configJson: string, threads: number): TrainingEngineInit {
  return {
    source: { configJson, seed: 1 },
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
    schedule: { learningRate: 1e-5, warmupSteps: 0 },
    clipNorm: 1,
    threads,
  };
}

/** A batch whose every token is learned from. */
function fullBatch(vocabSize: number) {
  const random = randomNumbers(3);
  const sequences = Array.from({ length: BATCH }, () => ({
    tokens: Uint32Array.from({ length: TOKENS + 1 }, () => Math.floor(random() * vocabSize)),
    mask: new Uint8Array(TOKENS + 1).fill(1),
  }));
  const batch = microBatches(sequences, BATCH * TOKENS)[0]!;
  const grid = (value: number) => ({ data: new Float32Array(BATCH * TOKENS).fill(value), columns: TOKENS });
  const grids = {
    weights: grid(1 / (BATCH * TOKENS)),
    logprobs_worker: grid(-8),
    logprobs_old: grid(-8),
    advantages: { data: Float32Array.from({ length: BATCH }, (_, k) => (k % 2 === 0 ? 1 : -1)), columns: 1 },
  };
  return { batch, grids };
}

async function run({ threads }: { readonly threads: number }): Promise<readonly Row[]> {
  const { config, configJson, weights } = mediumModel();
  const init = engineInit(configJson, threads);
  const learner = createLearner(weights);
  const sessions = createSessions(config, init);
  const runner = await sessions.get('policy', learner.parameters);
  const { batch, grids } = fullBatch(config.vocabSize);
  const peer = await createGemmPeer(config, BATCH * TOKENS, threads);
  const tokens = BATCH * TOKENS;
  const flops =
    6 * parameterCount(config) * tokens + 12 * config.layers * tokens * TOKENS * config.heads * config.headDim;
  const passes: number[] = [];
  const speeds: number[] = [];
  const gemmSpeeds: number[] = [];
  const optimizer: number[] = [];
  for (let k = 0; k < WARM_UPS + ROUNDS; k++) {
    const gemm = await peer.run();
    const start = performance.now();
    const { gradients } = await runner.run(batch, grids);
    const pass = performance.now() - start;
    const step = await millisecondsOf(() =>
      learner.step(gradients, init.optimizer, 1e-5, clipScale(globalNorm(gradients), init.clipNorm)),
    );
    if (k < WARM_UPS) continue;
    passes.push(pass);
    speeds.push(flops / pass / 1e6);
    gemmSpeeds.push(gemm.flops / gemm.milliseconds / 1e6);
    optimizer.push(step);
  }
  await peer.release();
  await sessions.release();
  return [
    row({
      name: 'training: forward + backward, 5.6 M, 16 × 128',
      value: median(speeds),
      unit: 'GFLOP/s',
      peer: 'ONNX Runtime Gemm, same layer shapes',
      peerValue: median(gemmSpeeds),
      ratio: medianRatio(speeds, gemmSpeeds),
      target: { of: 'ratio', atLeast: GEMM_SHARE },
    }),
    row({
      name: 'training: optimizer step, 5.6 M',
      value: median(optimizer),
      unit: 'ms',
      peer: 'forward + backward',
      peerValue: median(passes),
      ratio: medianRatio(optimizer, passes),
      target: { of: 'ratio', atMost: OPTIMIZER_SHARE },
    }),
  ];
}

export const training: Benchmark = { name: 'training', run };
