// A training engine in a worker thread. Invariants: every call is answered or rejected, also when the thread dies; what is
// given up is rejected at once, while the thread leaves it after the micro-batch that it is in.

import { createThread, threadFile } from '../../node/model/engine/thread-calls.ts';
import type { TrainingEngine, TrainingEngineInit } from './engine.ts';
import { createCutOff, createInterruption, interruptedError } from './interruption.ts';
import type { EngineFunctions, EngineThreadInit } from './thread.ts';

/**
 * Opens a model for training on a thread of its own.
 * @throws as `openTrainingCore`
 */
export async function createTrainingEngine(init: TrainingEngineInit): Promise<TrainingEngine> {
  // Sources run as .ts, the built package as .js.
  const file = threadFile(import.meta.url, 'thread');
  const interruption = createInterruption();
  const workerData: EngineThreadInit = { init, interrupted: interruption.flag };
  const { call, close } = createThread<EngineFunctions>({ name: 'training', file, workerData });
  const { unlessCut, cut } = createCutOff();
  try {
    await call('open', []);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    logprobs: (...args) => unlessCut(call('logprobs', args)),
    update: (...args) => unlessCut(call('update', args)),
    sft: (...args) => unlessCut(call('sft', args)),
    rehearse: (...args) => unlessCut(call('rehearse', args)),
    policy: () => call('policy', []),
    saveCheckpoint: (...args) => call('saveCheckpoint', args),
    restore: (...args) => call('restore', args),
    interrupt() {
      interruption.interrupt();
      cut(interruptedError());
    },
    close,
  };
}
