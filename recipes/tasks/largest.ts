// The largest of a few numbers (`largest@1`): `Which is the largest: 34, 87, 12 or 56?` asks for `87`. In words, for
// pretrained models; what one of 135 M parameters can already do sometimes. Numbers may repeat.
// Draws, in this order: each number (1 uniform each). Never changes under @1.

import { z } from 'zod';
import type { UniformStream } from '../../node/protocol/seeds.ts';
import { type Demonstration, drawInteger, notOurs, type Problem, type TaskFamily } from './task.ts';

const PROMPT = /^Which is the largest: (\d{1,6}(?:, \d{1,6}){0,6}) or (\d{1,6})\?$/;

/** Difficulty: how many numbers, and between which bounds. */
export interface LargestSettings {
  readonly items: number;
  readonly minNumber: number;
  readonly maxNumber: number;
}

function generate(draw: UniformStream, { items, minNumber, maxNumber }: LargestSettings): Problem {
  const numbers = Array.from({ length: items }, () => drawInteger(draw, minNumber, maxNumber));
  return {
    prompt: `Which is the largest: ${numbers.slice(0, -1).join(', ')} or ${numbers.at(-1)}?`,
    answer: String(Math.max(...numbers)),
  };
}

/** Thinking is the largest so far, number by number: `<34,87,87,87>87`. */
function demonstrate(problem: Problem): Demonstration {
  const match = PROMPT.exec(problem.prompt);
  if (match === null) throw notOurs('largest@1', problem.prompt);
  const numbers = [...match[1]!.split(', '), match[2]!].map(Number);
  const soFar = numbers.map((_, i) => Math.max(...numbers.slice(0, i + 1)));
  return { thinking: `<${soFar.join(',')}>${problem.answer}`, blurting: problem.answer };
}

/** Comparing numbers, asked in English. */
export const largest: TaskFamily<LargestSettings> = {
  name: 'largest',
  version: 1,
  description: 'Largest number: name the largest of a few, such as Which is the largest: 34, 87, 12 or 56?',
  settings: z
    .strictObject({
      items: z.int().min(2).max(8).default(4).describe('numbers to choose from'),
      minNumber: z.int().min(1).max(999_999).default(10).describe('least that a number may be'),
      maxNumber: z.int().min(1).max(999_999).default(99).describe('most that a number may be'),
    })
    .refine((settings) => settings.minNumber <= settings.maxNumber, {
      message: 'minNumber must not exceed maxNumber',
      path: ['minNumber'],
    }),
  generate,
  demonstrate,
};
