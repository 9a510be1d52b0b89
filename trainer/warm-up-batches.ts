// What a warm-up imitates: demonstrations of a recipe's own tasks, in a mix of thinking first and blurting.
// Source: the shipped starter model: mostly thinking until it is learned, then mostly blurting, so that GRPO has something to
// find out. Invariant: a batch is a pure function of (seed, step), and no prompt of it is held out.

import { createHash } from 'node:crypto';
import { SwarmError } from '../node/protocol/errors.ts';
import { type UniformStream, uniformStream } from '../node/protocol/seeds.ts';
import { drawProblem, type TaskFamily } from '../recipes/tasks/task.ts';
import type { SftSequence } from './engine/engine.ts';

/** One family to draw from. */
export interface WarmUpTask {
  readonly family: TaskFamily<unknown>;
  readonly settings: unknown;
  /** share of the problems, relative to the other tasks */
  readonly weight: number;
}

/** A stretch of steps and how many of its demonstrations think first, 0…1. */
export interface WarmUpPhase {
  readonly steps: number;
  readonly thinkingShare: number;
}

export interface WarmUpBatchesInit {
  readonly tasks: readonly WarmUpTask[];
  readonly phases: readonly WarmUpPhase[];
  readonly sequencesPerStep: number;
  readonly seed: number;
  /** text to ids, without special tokens */
  encode(text: string): readonly number[];
  readonly endToken: number;
}

/** The phases that the shipped starter model is made with. */
export const STARTER_PHASES: readonly WarmUpPhase[] = [
  { steps: 560, thinkingShare: 0.85 },
  { steps: 160, thinkingShare: 0.3 },
];

/** Steps of all phases together. */
export function totalSteps(phases: readonly WarmUpPhase[]): number {
  return phases.reduce((sum, { steps }) => sum + steps, 0);
}

/** Share of thinking at a step; the last phase's beyond the end. */
export function thinkingShareAt(phases: readonly WarmUpPhase[], step: number): number {
  let left = step;
  for (const { steps, thinkingShare } of phases) {
    if (left < steps) return thinkingShare;
    left -= steps;
  }
  return phases.at(-1)?.thinkingShare ?? 1;
}

function pickTask(tasks: readonly WarmUpTask[], draw: UniformStream): WarmUpTask {
  let left = draw.next() * tasks.reduce((sum, { weight }) => sum + weight, 0);
  for (const task of tasks) {
    left -= task.weight;
    if (left < 0) return task;
  }
  return tasks.at(-1)!;
}

/**
 * Batches by step.
 * @throws {SwarmError} RECIPE_INVALID when there is no task to imitate (rows have answers but no demonstrations)
 */
export function createWarmUpBatches(init: WarmUpBatchesInit): (step: number) => readonly SftSequence[] {
  if (init.tasks.length === 0) {
    throw new SwarmError(
      'RECIPE_INVALID',
      'the recipe has no generated task to imitate: a warm-up needs one, such as arrows@1',
    );
  }
  const sequence = (draw: UniformStream, thinkingShare: number): SftSequence => {
    const { family, settings } = pickTask(init.tasks, draw);
    const problem = drawProblem(family, settings, draw, 'training');
    const { thinking, blurting } = family.demonstrate(problem);
    const prompt = init.encode(problem.prompt);
    const completion = init.encode(draw.next() < thinkingShare ? thinking : blurting);
    const tokens = Uint32Array.from([...prompt, ...completion, init.endToken]);
    return { tokens, mask: new Uint8Array(tokens.length).fill(1, prompt.length) };
  };
  return (step) => {
    const seed = createHash('sha256').update(`murmuration/warm-up/1:${init.seed}:${step}`).digest();
    const draw = uniformStream(seed);
    const thinkingShare = thinkingShareAt(init.phases, step);
    return Array.from({ length: init.sequencesPerStep }, () => sequence(draw, thinkingShare));
  };
}
