// A recipe made ready for use: which problem a group seed asks, how a completion scores, what evaluation asks.
// Source: spec/wire.md "Tasks", "Text"; spec/rollouts.md "Randomness". Knows nothing of tokenizers: text in, integers out.
// Invariant: every function here is pure and bounded, so that any peer recomputes what any other computed.

import { fromHex, sha256, u32be } from '../node/protocol/bytes.ts';
import { familyWord, taskSeed, taskWord, uniformStream } from '../node/protocol/seeds.ts';
import { RecipeError } from './error.ts';
import { isRightAnswer, type RewardTerm, rewardFunction, totalScore } from './rewards/table.ts';
import type { Recipe } from './schema.ts';
import type { ExamplesChat, GeneratedTask, RecipeTask, RowsTask } from './sections.ts';
import { taskFamily } from './tasks/table.ts';
import {
  type ChatTurn,
  type Demonstration,
  drawExamples,
  drawProblem,
  type Problem,
  type Split,
} from './tasks/task.ts';

const HELD_OUT_DOMAIN = 'murmuration/held-out/1';

/** A problem and where it came from: `arrows@1`, or `rows`. */
export interface DrawnProblem {
  readonly family: string;
  readonly problem: Problem;
}

/** A recipe and all that follows from it. */
export interface ResolvedRecipe {
  readonly recipe: Recipe;
  /** 32 bytes */
  readonly recipeId: Uint8Array;
  readonly recipeIdHex: string;
  /** The problem of a group (32-byte group seed); never a held-out one of a generated family. */
  problemFor(groupSeed: Uint8Array): DrawnProblem;
  /**
   * Problems for evaluation, the same for the same seed (u32), none of which training asks. Only rows without
   * `heldOutRows`, which hold nothing out, are asked as they are.
   */
  heldOutProblems(count: number, seed: number): readonly Problem[];
  /** one of them, for callers that must not draw all at once */
  heldOutProblem(index: number, seed: number): Problem;
  /** Integer millionths of a completion's text (decoded without the end token, special tokens kept). */
  score(problem: Problem, completionText: string): number;
  /** Whether the completion's answer is right: what accuracy counts, free of penalties on form. */
  isRight(problem: Problem, completionText: string): boolean;
  /** Right answers to imitate in a warm-up; null for rows, which have none. */
  demonstrate(drawn: DrawnProblem): Demonstration | null;
}

/** Draws the problem of one task of the recipe under a group seed. */
type Source = (groupSeed: Uint8Array, split: Split) => DrawnProblem;

function isRows(task: RecipeTask): task is RowsTask {
  return 'rows' in task;
}

function rowsSource(task: RowsTask): Source {
  return (groupSeed, split) => {
    const rows = split === 'held-out' ? (task.heldOutRows ?? task.rows) : task.rows;
    const row = rows[Number(taskWord(groupSeed) % BigInt(rows.length))]!;
    const problem = task.chat === undefined ? row : { ...row, turns: [...task.chat.turns, ...(row.turns ?? [])] };
    return { family: 'rows', problem };
  };
}

/** The problem, then what its chat shows first: all from one stream, in this order. */
function generatedSource({ task, settings, chat }: GeneratedTask): Source {
  const family = taskFamily(task);
  return (groupSeed, split) => {
    const draw = uniformStream(taskSeed(groupSeed));
    const problem = drawProblem(family, settings, draw, split);
    if (chat === undefined) return { family: task, problem };
    const examples = drawExamples(family, settings, draw, problem, chat.examples);
    return { family: task, problem: { ...problem, turns: turnsOf(chat, examples) } };
  };
}

function turnsOf({ system }: ExamplesChat, examples: readonly Problem[]): ChatTurn[] {
  const solved = examples.flatMap(({ prompt, answer }): ChatTurn[] => [
    { role: 'user', content: prompt },
    { role: 'assistant', content: answer },
  ]);
  return system === undefined ? solved : [{ role: 'system', content: system }, ...solved];
}

/** Cumulative integer weights; the family word modulo their sum picks. */
function choose(sources: readonly Source[], weights: readonly number[]): (groupSeed: Uint8Array) => Source {
  if (sources.length === 1) return () => sources[0]!;
  const total = BigInt(weights.reduce((sum, weight) => sum + weight, 0));
  return (groupSeed) => {
    let left = Number(familyWord(groupSeed) % total);
    let picked = 0;
    while (left >= weights[picked]!) left -= weights[picked++]!;
    return sources[picked]!;
  };
}

/** Refuses settings that leave a split (almost) empty, here rather than at some later seed. */
function checkDraws(sources: readonly Source[]): void {
  const seed = new Uint8Array(32);
  for (const source of sources) {
    source(seed, 'training');
    source(seed, 'held-out');
  }
}

function checkRows(task: RowsTask): void {
  if (task.heldOutRows === undefined) return;
  const keyOf = ({ turns, prompt }: Problem): string => JSON.stringify([turns ?? [], prompt]);
  const training = new Set(task.rows.map(keyOf));
  const shared = task.heldOutRows.find((row) => training.has(keyOf(row)));
  if (shared === undefined) return;
  throw new RecipeError(
    'RECIPE_INVALID',
    `recipe.tasks: the row ${JSON.stringify(shared.prompt.slice(0, 80))} is both trained on and held out; take one away`,
    { path: 'recipe.tasks' },
  );
}

/**
 * @param recipe as `parseRecipe` gives it
 * @throws {RecipeError} RECIPE_INVALID when a task's settings leave it without prompts, or rows are both trained on and
 * held out
 */
export function resolveRecipe(recipe: Recipe): ResolvedRecipe {
  for (const task of recipe.tasks) if (isRows(task)) checkRows(task);
  const sources = recipe.tasks.map((task) => (isRows(task) ? rowsSource(task) : generatedSource(task)));
  checkDraws(sources);
  const sourceOf = choose(
    sources,
    recipe.tasks.map((task) => task.weight),
  );
  const heldOutProblem = (index: number, seed: number): Problem => {
    const itemSeed = sha256(HELD_OUT_DOMAIN, u32be(seed, 'seed'), u32be(index, 'index'));
    return sourceOf(itemSeed)(itemSeed, 'held-out').problem;
  };
  const terms: readonly RewardTerm[] = recipe.rewards.map((term) => ({
    reward: rewardFunction(term.reward),
    settings: term.settings,
    weight: term.weight,
  }));
  return {
    recipe,
    recipeId: fromHex(recipe.recipeIdHex, 32),
    recipeIdHex: recipe.recipeIdHex,
    problemFor: (groupSeed) => sourceOf(groupSeed)(groupSeed, 'training'),
    heldOutProblems: (count, seed) => Array.from({ length: count }, (_, index) => heldOutProblem(index, seed)),
    heldOutProblem,
    score: (problem, completionText) => totalScore(terms, problem, completionText),
    isRight: (problem, completionText) => isRightAnswer(terms, problem, completionText),
    demonstrate: ({ family, problem }) => (family === 'rows' ? null : taskFamily(family).demonstrate(problem)),
  };
}
