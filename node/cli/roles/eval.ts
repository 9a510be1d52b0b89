// `murmur eval`: loads one policy (of the data directory, or any model folder) and asks it the held-out tasks.

import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type ResolvedRecipe, resolveRecipe } from '../../../recipes/resolve.ts';
import { parseRecipe } from '../../../recipes/schema.ts';
import { parseModelConfig } from '../../model/config.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { loadTokenizer } from '../../model/tokenizer.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { EvalOptions } from '../commands/eval.ts';
import { choosePlacement } from '../compute.ts';
import { evaluatePolicy } from '../evaluate.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { withStoppedNode } from '../offline.ts';
import { completeToBytes, readRecipeSource, recipeModelOf } from '../recipe-source.ts';
import { nodeDataDir } from './inspect.ts';

interface Subject {
  readonly folder: string;
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
      ? await ofDataDir(options)
      : await ofFolder(resolve(options.model), options.recipe ?? 'arrows');
  const placement = await choosePlacement(options, 'alone');
  const engine = createPolicyEngine({ ...placement, memoryBytes: options.memory });
  try {
    const configJson = await readFile(join(subject.folder, 'config.json'), 'utf8');
    const tokenizer = await loadTokenizer(subject.folder, parseModelConfig(JSON.parse(configJson)).vocabSize);
    const policyRoot = (await recipeModelOf(subject.folder)).initialPolicyRoot;
    await engine.load({
      policyRoot,
      configJson,
      weightsFile: join(subject.folder, 'model.safetensors'),
    });
    const sampling = { ...subject.recipe.recipe.sampling, tokenCount: tokenizer.vocabSize };
    const evaluation = await evaluatePolicy(
      { engine, policyRoot, recipe: subject.recipe, tokenizer, sampling },
      options.tasks,
      seed,
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

async function ofFolder(folder: string, recipeText: string): Promise<Subject> {
  const key = '0'.repeat(64);
  const bytes = completeToBytes(await readRecipeSource(recipeText), {
    author: key,
    trainers: [key],
    model: await recipeModelOf(folder),
  });
  return { folder, policyStep: null, recipe: resolveRecipe(parseRecipe(bytes)) };
}

/** The newest (or asked-for) policy that a stopped node or trainer left. */
async function ofDataDir(options: EvalOptions): Promise<Subject> {
  const dataDir = nodeDataDir(options.dataDir);
  return withStoppedNode(dataDir, async ({ book, keptPolicies }) => {
    const known = options.recipe === undefined ? book.list().at(-1) : book.find(options.recipe);
    if (known === undefined) {
      throw new SwarmError(
        'RECIPE_NOT_FOUND',
        `no recipe ${options.recipe ?? ''} is known in ${dataDir}; murmur recipes lists them`,
      );
    }
    const kept = await keptPolicies(known);
    const policy = options.step === undefined ? kept[0] : kept.find(({ policyStep }) => policyStep === options.step);
    if (policy === undefined) {
      const here = kept.map(({ policyStep }) => policyStep).join(', ') || 'none';
      throw new SwarmError('NOT_FOUND', `that policy is not kept in ${dataDir}; policy steps that are: ${here}`, {
        dataDir,
      });
    }
    return { folder: policy.folder, policyStep: policy.policyStep, recipe: known.resolved };
  });
}
