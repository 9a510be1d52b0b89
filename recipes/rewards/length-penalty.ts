// `length-penalty@1`: minus a coefficient for each character away from a target length; added to the other rewards.
// Source: INTELLECT-2's R - 0.0003·|L_target - L| (spec/grpo.md). Differs: counts characters (Unicode code points) of
// the decoded completion, not tokens, so that a score needs nothing but text.

import { z } from 'zod';
import type { Problem } from '../tasks/task.ts';
import { MILLION, type RewardFunction } from './reward.ts';

/** The target, the price of a character, and its bounds. */
export interface LengthPenaltySettings {
  readonly targetCharacters: number;
  readonly perCharacter: number;
  readonly onlyOver: boolean;
  readonly maxPenalty: number;
}

function score(_problem: Problem, completion: string, settings: LengthPenaltySettings): number {
  let length = 0;
  for (const _ of completion) length++;
  const over = length - settings.targetCharacters;
  const away = settings.onlyOver ? Math.max(0, over) : Math.abs(over);
  const penalty = Math.min(
    away * Math.round(settings.perCharacter * MILLION),
    Math.round(settings.maxPenalty * MILLION),
  );
  // 0 - x, because -0 is not equal to 0 where scores are compared.
  return 0 - penalty;
}

/** A price on length. */
export const lengthPenalty: RewardFunction<LengthPenaltySettings> = {
  name: 'length-penalty',
  version: 1,
  description: 'Minus a coefficient for each character away from (or only over) a target length.',
  judges: 'form',
  settings: z.strictObject({
    targetCharacters: z.int().min(0).max(65_536).default(0).describe('length without a penalty, in characters'),
    perCharacter: z.number().min(0).max(1).default(0.0003).describe('penalty a character, in steps of one millionth'),
    onlyOver: z.boolean().default(true).describe('completions shorter than the target cost nothing'),
    maxPenalty: z.number().min(0).max(1).default(0.5).describe('no completion loses more than this'),
  }),
  score,
};
