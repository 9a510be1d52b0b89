// The rewards this build knows, by the name and version a recipe gives them, and how several add up to one score.

import { RecipeError } from '../error.ts';
import type { Problem } from '../tasks/task.ts';
import { exact } from './exact.ts';
import { lengthPenalty } from './length-penalty.ts';
import { number } from './number.ts';
import { MAX_SCORED_CHARACTERS, MILLION, type RewardFunction, rewardId } from './reward.ts';

const REWARDS: ReadonlyMap<string, RewardFunction<unknown>> = new Map(
  ([exact, lengthPenalty, number] as readonly RewardFunction<unknown>[]).map((reward) => [rewardId(reward), reward]),
);

/** One term of a recipe's reward: a function, its checked settings, its weight. */
export interface RewardTerm {
  readonly reward: RewardFunction<unknown>;
  readonly settings: unknown;
  readonly weight: number;
}

/** All rewards with the names recipes give them, in order. */
export function rewardFunctions(): readonly (readonly [string, RewardFunction<unknown>])[] {
  return [...REWARDS];
}

/** Names of all rewards, such as `exact@1`, in order. */
export function knownRewards(): readonly string[] {
  return [...REWARDS.keys()];
}

/**
 * The reward of that name and version.
 * @throws {RecipeError} RECIPE_UNKNOWN_REWARD, listing those that are known
 */
export function rewardFunction(id: string): RewardFunction<unknown> {
  const reward = REWARDS.get(id);
  if (reward !== undefined) return reward;
  throw new RecipeError(
    'RECIPE_UNKNOWN_REWARD',
    `unknown reward ${JSON.stringify(id.slice(0, 80))}: this build knows ${knownRewards().join(', ')}; correct the name or update`,
    { reward: id.slice(0, 80) },
  );
}

/**
 * Sum of weight · score over the terms. Weights count in whole millionths, so the sum is exact in integers.
 * @returns integer millionths; 0 for a completion over the budget of MAX_SCORED_CHARACTERS
 */
export function totalScore(terms: readonly RewardTerm[], problem: Problem, completion: string): number {
  if (completion.length > MAX_SCORED_CHARACTERS) return 0;
  let sum = 0;
  for (const term of terms) {
    sum += Math.round(term.weight * MILLION) * term.reward.score(problem, completion, term.settings);
  }
  // + 0 turns -0 into 0.
  return Math.round(sum / MILLION) + 0;
}

/**
 * Whether the answer is right, whatever the completion looks like: every term that judges answers and counts for the
 * better gives its whole 1. False when a recipe judges no answers.
 */
export function isRightAnswer(terms: readonly RewardTerm[], problem: Problem, completion: string): boolean {
  if (completion.length > MAX_SCORED_CHARACTERS) return false;
  const judges = terms.filter((term) => term.reward.judges === 'answer' && term.weight > 0);
  return judges.length > 0 && judges.every((term) => term.reward.score(problem, completion, term.settings) === MILLION);
}
