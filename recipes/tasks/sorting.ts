// Sorting digits (`sorting@1`): `7,3,9,1=` asks for `1,3,7,9`. Digits may repeat.
// Draws, in this order: number of digits (1 uniform), then each digit (1 each). Never changes under @1.

import { z } from 'zod';
import type { UniformStream } from '../../node/protocol/seeds.ts';
import { type Demonstration, drawInteger, notOurs, type Problem, type TaskFamily } from './task.ts';

const PROMPT = /^\d(?:,\d){2,15}=$/;

/** Difficulty: how many digits there are to sort. */
export interface SortingSettings {
  readonly minItems: number;
  readonly maxItems: number;
}

function generate(draw: UniformStream, settings: SortingSettings): Problem {
  const count = drawInteger(draw, settings.minItems, settings.maxItems);
  const digits = Array.from({ length: count }, () => drawInteger(draw, 0, 9));
  return { prompt: `${digits.join(',')}=`, answer: digits.toSorted((a, b) => a - b).join(',') };
}

/** Thinking is selection: each smallest digit with what is left after it, `<1:739,3:79,7:9,9:>1,3,7,9`. */
function demonstrate(problem: Problem): Demonstration {
  if (!PROMPT.test(problem.prompt)) throw notOurs('sorting@1', problem.prompt);
  const left = problem.prompt.slice(0, -1).split(',');
  const steps = left.toSorted().map((smallest) => {
    left.splice(left.indexOf(smallest), 1);
    return `${smallest}:${left.join('')}`;
  });
  return { thinking: `<${steps.join(',')}>${problem.answer}`, blurting: problem.answer };
}

/** Putting a few digits in order. */
export const sorting: TaskFamily<SortingSettings> = {
  name: 'sorting',
  version: 1,
  description: 'Sorting: put a few digits in ascending order, such as 7,3,9,1=.',
  settings: z
    .strictObject({
      minItems: z.int().min(3).max(16).default(4).describe('fewest digits'),
      maxItems: z.int().min(3).max(16).default(6).describe('most digits'),
    })
    .refine((settings) => settings.minItems <= settings.maxItems, {
      message: 'minItems must not exceed maxItems',
      path: ['minItems'],
    }),
  generate,
  demonstrate,
};
