// Accuracy of a policy on a recipe's held-out tasks: sampled at the recipe's temperature, with fixed seeds,
// so that two policies are asked the same questions with the same luck.

import { promptOf } from '../../recipes/prompt.ts';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { concatBytes, sha256, u32be, utf8 } from '../protocol/bytes.ts';
import type { PolicyEngine, SamplingSettings } from '../protocol/ports.ts';

export interface Evaluation {
  /** mean reward-free correctness in [0, 1]: the share of tasks whose reward is the full one */
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
}

/**
 * @param tasks how many held-out tasks (≥ 512 for a figure to be told)
 * @param seed which tasks and which luck
 */
export async function evaluatePolicy(
  context: EvaluationContext,
  tasks: number,
  seed: number,
  samplesShown: number = 0,
): Promise<Evaluation> {
  const problems = context.recipe.heldOutProblems(tasks, seed);
  const requests = problems.map((problem, index) => ({
    prompt: promptOf(context.tokenizer, problem).tokens,
    sequenceSeeds: [evaluationSeed(seed, index)],
  }));
  const groups = await context.engine.generate(context.policyRoot, context.sampling, requests);
  let right = 0;
  let tokens = 0;
  const samples: { prompt: string; completion: string; right: boolean }[] = [];
  groups.forEach((sequences, index) => {
    const sequence = sequences[0];
    const problem = problems[index];
    if (sequence === undefined || problem === undefined) return;
    tokens += sequence.tokens.length;
    const completion = completionText(context.tokenizer, sequence);
    const isRight = context.recipe.isRight(problem, completion);
    if (isRight) right++;
    if (samples.length < samplesShown) samples.push({ prompt: problem.prompt, completion, right: isRight });
  });
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
