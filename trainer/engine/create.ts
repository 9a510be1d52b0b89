// A training engine in a worker thread. Invariant: every call is answered or rejected, also when the thread dies.

import { createThread, threadFile } from '../../node/model/engine/thread-calls.ts';
import type { TrainingEngine, TrainingEngineInit } from './engine.ts';
import type { EngineFunctions } from './thread.ts';

/**
 * Opens a model for training on a thread of its own.
 * @throws as `openTrainingCore`
 */
export async function createTrainingEngine(init: TrainingEngineInit): Promise<TrainingEngine> {
  // Sources run as .ts, the built package as .js.
  const file = threadFile(import.meta.url, 'thread');
  const { call, close } = createThread<EngineFunctions>({ name: 'training', file, workerData: init });
  try {
    await call('open', []);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    logprobs: (...args) => call('logprobs', args),
    update: (...args) => call('update', args),
    sft: (...args) => call('sft', args),
    policy: () => call('policy', []),
    saveCheckpoint: (...args) => call('saveCheckpoint', args),
    restore: (...args) => call('restore', args),
    rehearse: (...args) => call('rehearse', args),
    close,
  };
}
