// A reward: a pure score of a completion's text, an integer in millionths, under a version that never changes.
// Source: spec/rollouts.md ("Rewards are computed on a decode that the recipe fixes, under a budget of steps, never of
// time; over budget is 0 for everybody"). Invariant: work is linear in the text, and the text is bounded.

import type { z } from 'zod';
import type { Problem } from '../tasks/task.ts';

/** 1.0 in the integer unit of all rewards. */
export const MILLION = 1_000_000;
/** The budget: a longer completion (UTF-16 units) scores 0 with everybody. */
export const MAX_SCORED_CHARACTERS = 65_536;

/** A reward function with its settings' schema. */
export interface RewardFunction<Settings> {
  readonly name: string;
  readonly version: number;
  /** one sentence for people */
  readonly description: string;
  /** whether 1 means that the answer is right, or only how the completion looks is judged */
  readonly judges: 'answer' | 'form';
  /** strict, every field with a default */
  readonly settings: z.ZodType<Settings>;
  /**
   * @param completion decoded text without the end token, at most MAX_SCORED_CHARACTERS
   * @returns integer millionths in [-MILLION, MILLION]
   */
  score(problem: Problem, completion: string, settings: Settings): number;
}

/** How a recipe names a reward: `exact@1`. */
export function rewardId(reward: { readonly name: string; readonly version: number }): string {
  return `${reward.name}@${reward.version}`;
}

/** What follows the last `marker`, or everything when the marker is empty or absent. */
export function textAfter(completion: string, marker: string): string {
  if (marker === '') return completion;
  const at = completion.lastIndexOf(marker);
  return at < 0 ? completion : completion.slice(at + marker.length);
}
