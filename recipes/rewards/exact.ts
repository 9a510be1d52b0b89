// `exact@1`: 1 when the answer is the expected text, else 0. The answer is what follows the last marker (`>` by default,
// the end of thinking in the generated families), or the whole completion without one.

import { z } from 'zod';
import type { Problem } from '../tasks/task.ts';
import { MILLION, type RewardFunction, textAfter } from './reward.ts';

/** Where the answer is, and what to overlook. */
export interface ExactSettings {
  readonly after: string;
  readonly trim: boolean;
}

function score(problem: Problem, completion: string, settings: ExactSettings): number {
  const answer = textAfter(completion, settings.after);
  const right = settings.trim ? answer.trim() === problem.answer.trim() : answer === problem.answer;
  return right ? MILLION : 0;
}

/** Equal texts. */
export const exact: RewardFunction<ExactSettings> = {
  name: 'exact',
  version: 1,
  description: '1 when the text after the last marker equals the answer, else 0.',
  judges: 'answer',
  settings: z.strictObject({
    after: z.string().max(32).default('>').describe('the answer follows the last of these; empty: all of the text'),
    trim: z.boolean().default(false).describe('overlook white space around both texts'),
  }),
  score,
};
