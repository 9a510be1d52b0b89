// A training engine whose weights are the list of what it learned from: shows what was trained, in which order, and whether twice.

import { sha256, utf8 } from '../../node/protocol/bytes.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import type { CheckpointMeta } from '../../trainer/checkpoint.ts';
import type { PolicySnapshot, TrainingEngine, TrainSequence } from '../../trainer/engine/engine.ts';
import { interruptedError } from '../../trainer/engine/interruption.ts';

/** What survives a crash. */
export interface TrainingDisk {
  readonly checkpoints: { readonly meta: CheckpointMeta; readonly learned: readonly string[] }[];
}

export interface ScriptedTrainingEngine
  extends Pick<
    TrainingEngine,
    'logprobs' | 'update' | 'rehearse' | 'policy' | 'saveCheckpoint' | 'restore' | 'interrupt'
  > {
  /** one entry a sequence: its tokens */
  learned(): readonly string[];
  readonly updates: { readonly sequences: readonly TrainSequence[]; readonly scheduleStep: number | undefined }[];
  /** asked before an update: false makes it fail as not finite */
  isFinite: (update: number, sequences: readonly TrainSequence[]) => boolean;
  /** an update that is asked for now does not end by itself */
  isSlow: boolean;
}

/** Root of the weights that have learned this. */
export function snapshotOf(learned: readonly string[]): PolicySnapshot {
  const safetensors = utf8(`weights ${learned.join(' ')}`);
  return { safetensors, policyRoot: sha256(safetensors), changedBits: 1, changedShare: 1 };
}

export function scriptedTrainingEngine(disk: TrainingDisk): ScriptedTrainingEngine {
  let learned: readonly string[] = [];
  const givenUp = Promise.withResolvers<never>();
  givenUp.promise.catch(() => undefined);
  const engine: ScriptedTrainingEngine = {
    updates: [],
    isFinite: () => true,
    isSlow: false,
    interrupt: () => givenUp.reject(interruptedError()),
    learned: () => learned,
    logprobs: async (sequences) => sequences.map(({ tokens }) => new Float32Array(tokens.length).fill(-0.5)),
    async update(sequences, scheduleStep) {
      engine.updates.push({ sequences, scheduleStep });
      if (engine.isSlow) await givenUp.promise;
      if (!engine.isFinite(engine.updates.length, sequences)) {
        throw new SwarmError('NON_FINITE_STEP', 'the loss is NaN');
      }
      learned = [...learned, ...sequences.map(({ tokens }) => tokens.join('.'))];
      const tokens = sequences.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
      return {
        loss: 0.5,
        entropy: 1,
        gradientNorm: 2,
        klEstimate: 0,
        essShare: 1,
        meanLog2w: 0,
        clippedLowShare: 0,
        clippedHighShare: 0,
        maskedShare: 0,
        learningRate: 1e-5,
        tokens,
        sequences: sequences.length,
        optimizerStep: engine.updates.length,
      };
    },
    async rehearse(sequences) {
      engine.updates.push({ sequences, scheduleStep: undefined });
      if (!engine.isFinite(engine.updates.length, sequences)) {
        throw new SwarmError('NON_FINITE_STEP', 'the loss is NaN');
      }
    },
    policy: async () => snapshotOf(learned),
    async saveCheckpoint(_dir, meta) {
      disk.checkpoints.push({ meta, learned });
      return `/nowhere/step-${meta.step}`;
    },
    async restore() {
      const newest = disk.checkpoints.at(-1);
      if (newest === undefined) return null;
      learned = newest.learned;
      return { path: `/nowhere/step-${newest.meta.step}`, meta: newest.meta, skipped: [] };
    },
  };
  return engine;
}
