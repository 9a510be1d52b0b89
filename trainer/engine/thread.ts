// The far end of createTrainingEngine: one engine in a worker thread, one call at a time, in the order of arrival.

import { workerData } from 'node:worker_threads';
import { serveThread } from '../../node/model/engine/thread-calls.ts';
import { openTrainingCore } from './core.ts';
import type { TrainingEngine, TrainingEngineInit } from './engine.ts';

export interface EngineFunctions extends TrainingEngine {
  /** resolves once the model is open */
  open(): Promise<void>;
}

async function openEngine(): Promise<EngineFunctions> {
  return { ...(await openTrainingCore(workerData as TrainingEngineInit)), open: async () => undefined };
}

serveThread('training', openEngine(), (engine) => engine.close());
