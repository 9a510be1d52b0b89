// A task family: a pure function from uniforms to a problem with a checkable answer, under a version that never changes.
// Source: spec/wire.md "Tasks". Held out for evaluation: prompts whose SHA-256 begins with a byte < 16 (one in 16).
// Invariant: generation for rollouts and warm-up never gives a held-out prompt, evaluation never gives another.

import { createHash } from 'node:crypto';
import type { z } from 'zod';
import type { UniformStream } from '../../node/protocol/seeds.ts';
import { RecipeError } from '../error.ts';

/** First bytes below this hold a prompt out. */
const HELD_OUT_BELOW = 16;
/** Redraws before a family counts as too small to have a prompt of the wanted kind: (15/16)^4096 is 1e-115. */
const MAX_DRAWS = 4096;

/** What one side said in a chat. */
export interface ChatTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** A question and the one answer that is right. */
export interface Problem {
  /** what is asked: all that a model is given to go on from, or the last user turn of a chat */
  readonly prompt: string;
  readonly answer: string;
  /** the turns before it. There, even if none: the model's chat template makes the text; absent: the prompt is the text */
  readonly turns?: readonly ChatTurn[];
}

/** Two ways to answer right: with the steps in `<…>` first, or at once. Both are completions without the end token. */
export interface Demonstration {
  readonly thinking: string;
  readonly blurting: string;
}

/**
 * A family of generated problems.
 * Invariants: `generate` is pure and bounded; what (name, version, seed, settings) makes never changes (golden files);
 * `demonstrate` takes any problem that `generate` made.
 */
export interface TaskFamily<Settings> {
  readonly name: string;
  readonly version: number;
  /** one sentence for people */
  readonly description: string;
  /** strict, every field with a default; the difficulty knobs */
  readonly settings: z.ZodType<Settings>;
  generate(draw: UniformStream, settings: Settings): Problem;
  demonstrate(problem: Problem): Demonstration;
}

/** Which prompts to draw: those that train, or those that only evaluate. */
export type Split = 'training' | 'held-out';

/** How a recipe names a family: `arrows@1`. */
export function taskId(family: { readonly name: string; readonly version: number }): string {
  return `${family.name}@${family.version}`;
}

/** Whether a prompt is kept for evaluation: SHA-256 of its UTF-8 bytes begins with a byte < 16. */
export function isHeldOut(prompt: string): boolean {
  return createHash('sha256').update(prompt, 'utf8').digest()[0]! < HELD_OUT_BELOW;
}

/**
 * Draws problems from one stream until one lies in the wanted split.
 * @throws {RecipeError} RECIPE_INVALID when the settings leave (almost) no prompts of that split
 */
export function drawProblem<Settings>(
  family: TaskFamily<Settings>,
  settings: Settings,
  draw: UniformStream,
  split: Split,
): Problem {
  const isHeldOutWanted = split === 'held-out';
  return drawUntil(family, settings, draw, split, ({ prompt }) => isHeldOut(prompt) === isHeldOutWanted);
}

/**
 * Draws problems to show solved beside `problem`: no two equal, none of them held out, whatever the split of `problem`.
 * @throws {RecipeError} RECIPE_INVALID when the settings leave too few prompts
 */
export function drawExamples<Settings>(
  family: TaskFamily<Settings>,
  settings: Settings,
  draw: UniformStream,
  problem: Problem,
  count: number,
): readonly Problem[] {
  const taken = new Set([problem.prompt]);
  return Array.from({ length: count }, () => {
    const isFit = ({ prompt }: Problem): boolean => !isHeldOut(prompt) && !taken.has(prompt);
    const example = drawUntil(family, settings, draw, 'further', isFit);
    taken.add(example.prompt);
    return example;
  });
}

function drawUntil<Settings>(
  family: TaskFamily<Settings>,
  settings: Settings,
  draw: UniformStream,
  wanted: string,
  isFit: (problem: Problem) => boolean,
): Problem {
  for (let n = 0; n < MAX_DRAWS; n++) {
    const problem = family.generate(draw, settings);
    if (isFit(problem)) return problem;
  }
  throw new RecipeError(
    'RECIPE_INVALID',
    `${taskId(family)} found no ${wanted} prompt in ${MAX_DRAWS} draws: its settings make too few prompts, widen them`,
    { task: taskId(family), wanted },
  );
}

/** Uniform integer in [low, high], one uniform. */
export function drawInteger(draw: UniformStream, low: number, high: number): number {
  return low + Math.floor(draw.next() * (high - low + 1));
}

/** Fisher–Yates from the end, one uniform an item but the first; gives a new array. */
export function drawShuffled<T>(draw: UniformStream, items: readonly T[]): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = drawInteger(draw, 0, i);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

/** A problem handed to `demonstrate` that its family did not make. */
export function notOurs(task: string, prompt: string): RecipeError {
  return new RecipeError('RECIPE_INVALID', `${task} did not make the prompt ${JSON.stringify(prompt.slice(0, 80))}`, {
    task,
  });
}
