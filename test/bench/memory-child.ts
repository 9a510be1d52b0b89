// A process that takes the steps it is asked for and prints, as JSON, what they took and the most memory that it held.
// Arguments: what (adam, lora, half-billion), threads.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTrainingCore } from '../../trainer/engine/core.ts';
import type { TrainingEngine, TrainSequence } from '../../trainer/engine/engine.ts';
import { createGeneration } from './generation.ts';
import { millisecondsOf } from './harness.ts';
import { peakBytes } from './processes.ts';
import { halfBillionModel, largeModel } from './shapes.ts';
import { rolloutsToLearn } from './step.ts';
import { engineInit, fullBatch } from './training.ts';

/** What a child says. */
export interface Taken {
  readonly peakBytes: number;
  readonly generatingMs: number;
  /** of the last step */
  readonly updatingMs: number;
}

const LORA = {
  rank: 16,
  alpha: 32,
  targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
} as const;
/** 4108 tokens, of which 3 and with adapters 2 sequences nearly fill a micro-batch. */
const [SEQUENCES, TOKENS] = [13, 316];
/** The first makes what the second finds. */
const STEPS = 2;

/** Steps as a trainer takes them: update, policy, checkpoint. @returns milliseconds of the last update */
async function takeSteps(engine: TrainingEngine, batch: readonly TrainSequence[]): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'murmur-bench-steps-'));
  let updatingMs = 0;
  try {
    for (let step = 0; step < STEPS; step++) {
      updatingMs = await millisecondsOf(() => engine.update(batch));
      await engine.policy();
      await engine.saveCheckpoint(dir, { step, recipeId: 'bench', consumed: [], extra: null });
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return updatingMs;
}

async function train(threads: number, withAdapters: boolean): Promise<Omit<Taken, 'peakBytes'>> {
  const model = largeModel();
  const batch = fullBatch(model.config.vocabSize, SEQUENCES, TOKENS);
  const engine = await openTrainingCore(engineInit(model, threads, withAdapters ? { lora: LORA } : {}));
  const updatingMs = await takeSteps(engine, batch);
  await engine.close();
  return { generatingMs: 0, updatingMs };
}

async function halfBillion(threads: number): Promise<Omit<Taken, 'peakBytes'>> {
  const model = halfBillionModel();
  const size = { groups: 1, groupSize: 8, promptTokens: 32, newTokens: 256 };
  const generation = await createGeneration(model, size, threads, 'fed');
  let batch: TrainSequence[] = [];
  const generatingMs = await millisecondsOf(async () => {
    batch = rolloutsToLearn(generation, await generation.run());
  });
  await generation.dispose();
  const engine = await openTrainingCore(engineInit(model, threads));
  const updatingMs = await millisecondsOf(() => engine.update(batch));
  await engine.policy();
  await engine.close();
  return { generatingMs, updatingMs };
}

const [what, threads] = [process.argv[2], Number(process.argv[3])];
const taken = what === 'half-billion' ? await halfBillion(threads) : await train(threads, what === 'lora');
console.log(JSON.stringify({ ...taken, peakBytes: peakBytes() } satisfies Taken));
