// `murmur eval`: loads one policy (of the data directory, or any model folder) and asks it the held-out tasks.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedRecipe } from '../../../recipes/resolve.ts';
import { parseModelConfig } from '../../model/config.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { loadTokenizer } from '../../model/tokenizer.ts';
import { weightsFileOf } from '../../model/weight-files.ts';
import type { EvalOptions } from '../commands/eval.ts';
import { choosePlacement } from '../compute.ts';
import { evaluatePolicy, heldOutTasks } from '../evaluate.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { findKeptPolicy } from '../kept-policy.ts';
import { findModel } from '../model-folder.ts';
import { readRecipeSource, resolveUnsigned } from '../recipe-source.ts';
import { recipeModelOf } from '../start-model.ts';

interface Subject {
  readonly folder: string;
  readonly policyRoot: string;
  readonly policyStep: number | null;
  readonly recipe: ResolvedRecipe;
}

/** The seed that a demo evaluated with, so that the figures are the same; 0 elsewhere. */
async function defaultSeed(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, 'demo.json'), 'utf8').catch(() => '{}');
  const { seed } = JSON.parse(text) as { readonly seed?: unknown };
  return typeof seed === 'number' ? seed : 0;
}

export async function runEval(options: EvalOptions): Promise<number> {
  const seed = options.seed ?? (options.model === undefined ? await defaultSeed(options.dataDir) : 0);
  const subject =
    options.model === undefined
      ? await findKeptPolicy(options.dataDir, { recipe: options.recipe, policyStep: options.step })
      : await ofModel(options.model, options.recipe ?? 'arrows');
  const placement = await choosePlacement(options, 'alone');
  const engine = createPolicyEngine({ ...placement, memoryBytes: options.memory });
  try {
    const configJson = await readFile(join(subject.folder, 'config.json'), 'utf8');
    const tokenizer = await loadTokenizer(subject.folder, parseModelConfig(JSON.parse(configJson)).vocabSize);
    const policyRoot = subject.policyRoot;
    await engine.load({ policyRoot, configJson, weightsFile: await weightsFileOf(subject.folder) });
    const sampling = { ...subject.recipe.recipe.sampling, tokenCount: tokenizer.vocabSize };
    const evaluation = await evaluatePolicy(
      { engine, policyRoot, recipe: subject.recipe, tokenizer, sampling },
      await heldOutTasks(subject.recipe, tokenizer, options.tasks, seed),
      options.samples,
    );
    const shown = {
      recipe: subject.recipe.recipe.name,
      policyStep: subject.policyStep,
      policyRoot,
      seed,
      ...evaluation,
    };
    process.stdout.write(options.json ? `${JSON.stringify(shown)}\n` : describe(shown));
    return EXIT_OK;
  } finally {
    await engine.close();
  }
}

function describe(
  shown: Awaited<ReturnType<typeof evaluatePolicy>> & { recipe: string; policyStep: number | null; policyRoot: string },
): string {
  const step = shown.policyStep === null ? '' : `, policy step ${shown.policyStep}`;
  const margin = 1.96 * Math.sqrt((shown.accuracy * (1 - shown.accuracy)) / shown.tasks);
  return [
    `${shown.recipe}${step} (${shown.policyRoot.slice(0, 12)})`,
    `held-out accuracy  ${shown.accuracy.toFixed(3)} ± ${margin.toFixed(3)}  (${shown.tasks} tasks, 95 %)`,
    `completion tokens  ${shown.completionTokensMean.toFixed(1)}`,
    ...shown.samples.map((s) => `  ${s.right ? 'right' : 'wrong'}  ${s.prompt}${s.completion}`),
    '',
  ].join('\n');
}

/** A model under a recipe's questions. */
async function ofModel(text: string, recipeText: string): Promise<Subject> {
  const found = await findModel(text);
  const model = await recipeModelOf(found);
  return {
    folder: found.folder,
    policyRoot: model.initialPolicyRoot,
    policyStep: null,
    recipe: resolveUnsigned(await readRecipeSource(recipeText), model),
  };
}
