// The far end of createTrainingEngine: one engine in a worker thread, one call at a time, in the order of arrival.

import { workerData } from 'node:worker_threads';
import { serveThread } from '../../node/model/engine/thread-calls.ts';
import { openTrainingCore } from './core.ts';
import type { TrainingEngine, TrainingEngineInit } from './engine.ts';
import { createInterruption } from './interruption.ts';

/** What the thread is started with. */
export interface EngineThreadInit {
  readonly init: TrainingEngineInit;
  /** of an Interruption */
  readonly interrupted: Int32Array<SharedArrayBuffer>;
}

export interface EngineFunctions extends TrainingEngine {
  /** resolves once the model is open */
  open(): Promise<void>;
}

async function openEngine(): Promise<EngineFunctions> {
  const { init, interrupted } = workerData as EngineThreadInit;
  return { ...(await openTrainingCore(init, createInterruption(interrupted))), open: async () => undefined };
}

serveThread('training', openEngine(), (engine) => engine.close());
