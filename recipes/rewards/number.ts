// `number@1`: 1 when the last number after the marker is the expected number within a tolerance, else 0.
// Numbers are decimal, with an optional sign, fraction and exponent; no thousands separators.

import { z } from 'zod';
import type { Problem } from '../tasks/task.ts';
import { MILLION, type RewardFunction, textAfter } from './reward.ts';

// No two parts of it can match the same character, so matching is linear in the text.
const NUMBER = /[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Where the number is, and how near is right. */
export interface NumberSettings {
  readonly after: string;
  readonly tolerance: number;
}

/** The last number in a text, or null when there is none or it is too large for a double. */
function lastNumber(text: string): number | null {
  let last: string | null = null;
  for (const match of text.matchAll(NUMBER)) last = match[0];
  if (last === null) return null;
  const value = Number(last);
  return Number.isFinite(value) ? value : null;
}

function score(problem: Problem, completion: string, settings: NumberSettings): number {
  const got = lastNumber(textAfter(completion, settings.after));
  const expected = lastNumber(problem.answer);
  if (got === null || expected === null) return 0;
  return Math.abs(got - expected) <= settings.tolerance ? MILLION : 0;
}

/** Equal numbers. */
export const number: RewardFunction<NumberSettings> = {
  name: 'number',
  version: 1,
  description: '1 when the last number after the last marker equals the answer within a tolerance, else 0.',
  judges: 'answer',
  settings: z.strictObject({
    after: z.string().max(32).default('>').describe('the number is sought after the last of these; empty: in all text'),
    tolerance: z.number().min(0).max(1e6).default(0).describe('largest absolute difference that counts as equal'),
  }),
  score,
};
