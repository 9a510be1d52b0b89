// Follow the arrows (`arrows@1`): letters form one cycle, given as pairs in shuffled order; where do h hops lead?
// `ad,bf,ca,de,eb,fc:a4=` asks for `f`, since a→d→e→b→f. 1 555 200 prompts with the default settings.
// Draws, in this order: cycle (n-1 uniforms), order of the pairs (n-1), start (1), hops (1). Never changes under @1.

import { z } from 'zod';
import type { UniformStream } from '../../node/protocol/seeds.ts';
import { type Demonstration, drawInteger, drawShuffled, notOurs, type Problem, type TaskFamily } from './task.ts';

const ALPHABET = 'abcdefgh';
const PROMPT = /^[a-h]{2}(?:,[a-h]{2}){3,7}:[a-h][1-9]=$/;

/** Difficulty: how many letters the cycle has and how many hops are asked. */
export interface ArrowsSettings {
  readonly letters: number;
  readonly minHops: number;
  readonly maxHops: number;
}

/** What an arrows prompt says. */
interface Puzzle {
  readonly next: ReadonlyMap<string, string>;
  readonly start: string;
  readonly hops: number;
}

/** Letters reached after 1, 2, … hops. */
function pathOf(puzzle: Puzzle): string[] {
  const path: string[] = [];
  let at = puzzle.start;
  for (let hop = 0; hop < puzzle.hops; hop++) {
    at = puzzle.next.get(at)!;
    path.push(at);
  }
  return path;
}

function parsePrompt(prompt: string): Puzzle {
  if (!PROMPT.test(prompt)) throw notOurs('arrows@1', prompt);
  const [pairs, question] = prompt.split(':') as [string, string];
  const next = new Map(pairs.split(',').map((pair) => [pair[0]!, pair[1]!]));
  const start = question[0]!;
  // Every letter that is arrived at has an arrow of its own, so no walk ends early.
  const closed = next.has(start) && [...next.values()].every((letter) => next.has(letter));
  if (!closed) throw notOurs('arrows@1', prompt);
  return { next, start, hops: Number(question[1]) };
}

function generate(draw: UniformStream, settings: ArrowsSettings): Problem {
  const cycle = drawShuffled(draw, [...ALPHABET.slice(0, settings.letters)]);
  const arrows = cycle.map((letter, i) => [letter, cycle[(i + 1) % cycle.length]!] as const);
  const pairs = drawShuffled(draw, arrows);
  const start = drawInteger(draw, 0, cycle.length - 1);
  const hops = drawInteger(draw, settings.minHops, settings.maxHops);
  return {
    prompt: `${pairs.map(([from, to]) => from + to).join(',')}:${cycle[start]}${hops}=`,
    answer: cycle[(start + hops) % cycle.length]!,
  };
}

/** Thinking is each hop's letter with how many hops are left: `<d3e2b1f0>f`. */
function demonstrate(problem: Problem): Demonstration {
  const path = pathOf(parsePrompt(problem.prompt));
  const steps = path.map((letter, i) => `${letter}${path.length - 1 - i}`).join('');
  return { thinking: `<${steps}>${problem.answer}`, blurting: problem.answer };
}

/** The family that the shipped starter model is warmed up on. */
export const arrows: TaskFamily<ArrowsSettings> = {
  name: 'arrows',
  version: 1,
  description: 'Follow the arrows: six letters form one cycle, given as shuffled pairs; name the letter a few hops on.',
  settings: z
    .strictObject({
      letters: z.int().min(4).max(ALPHABET.length).default(6).describe('letters in the cycle'),
      minHops: z.int().min(1).max(9).default(3).describe('fewest hops asked'),
      maxHops: z.int().min(1).max(9).default(5).describe('most hops asked'),
    })
    .refine((settings) => settings.minHops <= settings.maxHops, {
      message: 'minHops must not exceed maxHops',
      path: ['minHops'],
    }),
  generate,
  demonstrate,
};
