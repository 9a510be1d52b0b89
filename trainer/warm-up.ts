// Supervised warm-up: imitate demonstrations step by step, keep checkpoints, stop cleanly when asked to.
// Left out: what a batch holds (warm-up-batches.ts) and where the result goes (the command).
// Invariant: a run that was stopped and taken up again does the same steps as one that was not.

import { SwarmError } from '../node/protocol/errors.ts';
import type { SftMetrics, SftSequence, TrainingEngine } from './engine/engine.ts';

export interface WarmUpProgress extends SftMetrics {
  /** steps done so far, of `steps` */
  readonly step: number;
  readonly steps: number;
  /** mean over the steps since the last report */
  readonly meanLoss: number;
  /** mean wall time of a step since the last report */
  readonly stepMs: number;
}

export interface WarmUpInit {
  readonly engine: TrainingEngine;
  /** a pure function of the step */
  nextBatch(step: number): readonly SftSequence[];
  readonly steps: number;
  /** where checkpoints go; without it a run cannot be taken up again */
  readonly checkpoints?: {
    readonly dir: string;
    readonly everySteps: number;
    /** what identifies this run: a checkpoint of another is refused */
    readonly runId: string;
  };
  readonly reportEverySteps: number;
  onProgress(progress: WarmUpProgress): void;
  /** looks at the weights so far; called every `reportEverySteps` and at the end */
  evaluate?(step: number): Promise<void>;
  nowMs(): number;
  readonly signal?: AbortSignal;
}

export interface WarmUpResult {
  readonly step: number;
  /** false when the signal stopped it; its checkpoint is written */
  readonly finished: boolean;
}

async function startStep({ engine, checkpoints }: WarmUpInit): Promise<number> {
  if (!checkpoints) return 0;
  const restored = await engine.restore(checkpoints.dir);
  if (restored === null) return 0;
  if (restored.meta.recipeId !== checkpoints.runId) {
    throw new SwarmError(
      'CHECKPOINT_CORRUPT',
      `${restored.path} belongs to a warm-up with other settings: give the same flags to go on, or delete ${checkpoints.dir} to start anew`,
      { path: restored.path },
    );
  }
  return restored.meta.step;
}

async function keep({ engine, checkpoints }: WarmUpInit, step: number): Promise<void> {
  if (!checkpoints) return;
  await engine.saveCheckpoint(checkpoints.dir, { step, recipeId: checkpoints.runId, consumed: [], extra: null });
}

/**
 * Runs, or goes on with, a warm-up.
 * @throws {SwarmError} NON_FINITE_STEP, DISK_FULL, CHECKPOINT_CORRUPT (of another run)
 */
export async function warmUp(init: WarmUpInit): Promise<WarmUpResult> {
  const { engine, steps, reportEverySteps, signal } = init;
  const first = await startStep(init);
  let step = first;
  let lossSum = 0;
  let reported = step;
  let sinceMs = init.nowMs();
  while (step < steps && !signal?.aborted) {
    const metrics = await engine.sft(init.nextBatch(step));
    step += 1;
    lossSum += metrics.loss;
    if (step % reportEverySteps === 0 || step === steps) {
      const count = step - reported;
      init.onProgress({ ...metrics, step, steps, meanLoss: lossSum / count, stepMs: (init.nowMs() - sinceMs) / count });
      await init.evaluate?.(step);
      lossSum = 0;
      reported = step;
      sinceMs = init.nowMs();
    }
    if (init.checkpoints && step % init.checkpoints.everySteps === 0) await keep(init, step);
  }
  if (step > first) await keep(init, step);
  return { step, finished: step >= steps };
}
