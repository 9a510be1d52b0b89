// Accuracy of a policy on a recipe's held-out tasks: sampled at the recipe's temperature, with fixed seeds,
// so that two policies are asked the same questions with the same luck.

import { promptOf, shownPrompt } from '../../recipes/prompt.ts';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import type { Problem } from '../../recipes/tasks/task.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { createTurns } from '../network/turns.ts';
import { concatBytes, sha256, u32be, utf8 } from '../protocol/bytes.ts';
import type { GenerateRequest, PolicyEngine, SamplingSettings } from '../protocol/ports.ts';

export interface Evaluation {
  /** share of tasks answered right, 0 … 1 (`isRight`: what a reward takes off for form does not count) */
  readonly accuracy: number;
  readonly tasks: number;
  readonly completionTokensMean: number;
  readonly samples: readonly { readonly prompt: string; readonly completion: string; readonly right: boolean }[];
}

/** Seed of the one sequence sampled for held-out task `index`. */
function evaluationSeed(seed: number, index: number): Uint8Array {
  return sha256(concatBytes(utf8('murmuration/evaluation/1'), u32be(seed), u32be(index)));
}

/** What evaluation needs of a policy that an engine has loaded. */
export interface EvaluationContext {
  readonly engine: PolicyEngine;
  readonly policyRoot: string;
  readonly recipe: ResolvedRecipe;
  readonly tokenizer: Tokenizer;
  readonly sampling: SamplingSettings;
  readonly signal?: AbortSignal;
}

/** What is asked, and how it is asked: the same for every policy. */
export interface HeldOutTasks {
  readonly problems: readonly Problem[];
  readonly requests: readonly GenerateRequest[];
}

/**
 * Draws held-out tasks: 50 to 76 ms for 512 in a demo (measured), so once for all evaluations of a trainer, giving way to
 * the network in between.
 * @param count how many
 * @param seed draws the tasks and their samples
 */
export async function heldOutTasks(
  recipe: ResolvedRecipe,
  tokenizer: Tokenizer,
  count: number,
  seed: number,
): Promise<HeldOutTasks> {
  const turn = createTurns();
  const problems: Problem[] = [];
  const requests: GenerateRequest[] = [];
  for (let index = 0; index < count; index++) {
    await turn();
    const problem = recipe.heldOutProblem(index, seed);
    problems.push(problem);
    requests.push({ prompt: promptOf(tokenizer, problem).tokens, sequenceSeeds: [evaluationSeed(seed, index)] });
  }
  return { problems, requests };
}

/** Samples one completion a task; judging them gives way to the network. @throws {SwarmError} INTERRUPTED */
export async function evaluatePolicy(
  context: EvaluationContext,
  { problems, requests }: HeldOutTasks,
  samplesShown: number = 0,
): Promise<Evaluation> {
  const groups = await context.engine.generate(context.policyRoot, context.sampling, requests, context.signal);
  const turn = createTurns();
  let right = 0;
  let tokens = 0;
  const samples: { prompt: string; completion: string; right: boolean }[] = [];
  for (const [index, problem] of problems.entries()) {
    const sequence = groups[index]![0]!;
    await turn();
    tokens += sequence.tokens.length;
    const completion = completionText(context.tokenizer, sequence);
    const isRight = context.recipe.isRight(problem, completion);
    if (isRight) right++;
    if (samples.length < samplesShown) samples.push({ prompt: shownPrompt(problem), completion, right: isRight });
  }
  const tasks = problems.length;
  return { accuracy: right / tasks, tasks, completionTokensMean: tokens / tasks, samples };
}

/** The text that rewards see: the end token, when there is one, removed before decoding; special tokens kept. */
export function completionText(
  tokenizer: Tokenizer,
  sequence: { readonly tokens: Uint32Array; readonly finish: 'eos' | 'length' },
): string {
  const end = sequence.finish === 'eos' ? -1 : sequence.tokens.length;
  return tokenizer.decode(Array.from(sequence.tokens.slice(0, end)));
}
