// Chain sums (`sums@1`): `17+25+9=` asks for `51`.
// Draws, in this order: number of terms (1 uniform), then each term (1 each). Never changes under @1.

import { z } from 'zod';
import type { UniformStream } from '../../node/protocol/seeds.ts';
import { type Demonstration, drawInteger, notOurs, type Problem, type TaskFamily } from './task.ts';

const PROMPT = /^\d{1,4}(?:\+\d{1,4}){1,7}=$/;

/** Difficulty: how many terms, and how large they may be. */
export interface SumsSettings {
  readonly minTerms: number;
  readonly maxTerms: number;
  readonly maxTerm: number;
}

function generate(draw: UniformStream, settings: SumsSettings): Problem {
  const count = drawInteger(draw, settings.minTerms, settings.maxTerms);
  const terms = Array.from({ length: count }, () => drawInteger(draw, 1, settings.maxTerm));
  return { prompt: `${terms.join('+')}=`, answer: String(terms.reduce((sum, term) => sum + term, 0)) };
}

/** Thinking is the running total after each further term: `<42,51>51`. */
function demonstrate(problem: Problem): Demonstration {
  if (!PROMPT.test(problem.prompt)) throw notOurs('sums@1', problem.prompt);
  const [first, ...rest] = problem.prompt.slice(0, -1).split('+').map(Number) as [number, ...number[]];
  let total = first;
  const totals = rest.map((term) => {
    total += term;
    return total;
  });
  return { thinking: `<${totals.join(',')}>${problem.answer}`, blurting: problem.answer };
}

/** Sums of a few small numbers. */
export const sums: TaskFamily<SumsSettings> = {
  name: 'sums',
  version: 1,
  description: 'Chain sums: add up a few numbers, such as 17+25+9=.',
  settings: z
    .strictObject({
      minTerms: z.int().min(2).max(8).default(2).describe('fewest terms'),
      maxTerms: z.int().min(2).max(8).default(4).describe('most terms'),
      maxTerm: z.int().min(9).max(9999).default(99).describe('largest term; the smallest is 1'),
    })
    .refine((settings) => settings.minTerms <= settings.maxTerms, {
      message: 'minTerms must not exceed maxTerms',
      path: ['minTerms'],
    }),
  generate,
  demonstrate,
};
