// `murmur demo` from its flags to its exit code: which recipe, model, swarm and goal; what is said before and after.

import { randomInt } from 'node:crypto';
import { access, constants, readdir, writeFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Recipe } from '../../../recipes/schema.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { DemoOptions } from '../commands/demo.ts';
import { choosePlacement } from '../compute.ts';
import { EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK } from '../exit-codes.ts';
import { defaultDataDir, MAX_COUNT } from '../options.ts';
import { renderSummary } from './display.ts';
import { arrowsGoal, fixedGoal, type Goal, gainedGoal } from './goal.ts';
import { ARROWS, writeDemoRecipe } from './recipe.ts';
import { processDir, runDemo } from './run.ts';
import { bytesAtMost, type SwarmSize, swarmSize } from './size.ts';

/** Policy steps after which a demo ends when the recipe does not say. */
const MAX_STEPS = 120;
const ARROWS_TEXT =
  'Follow the arrows: in ad,bf,ca,de,eb,fc:a3= go three hops from a.\nThinking first (<d2e1b0>b) is right, blurting (b) is mostly wrong.';

function goalFor({ goal, recipe }: DemoOptions): Goal {
  if (goal !== undefined) return fixedGoal(goal);
  return recipe === ARROWS ? arrowsGoal : gainedGoal;
}

/** What is about to happen, before the first process has started. */
function greeting(
  options: DemoOptions,
  recipe: Recipe,
  size: SwarmSize,
  told: { seed: number; dataDir: string },
): string {
  const liar = options.liar ? ' and a liar' : '';
  const nodes = size.nodes === 1 ? 'a node' : `${size.nodes} nodes`;
  const count = size.nodes + (options.liar ? 3 : 2);
  const what = options.recipe === ARROWS ? ARROWS_TEXT : `${recipe.name}: ${recipe.description.trim()}`;
  return [
    `Starting ${count} processes on 127.0.0.1: a trainer, a verifier, ${nodes}${liar}.`,
    what,
    'Ctrl-C stops everything, twice at once. The first step takes longest.',
    `Seed ${told.seed}. Logs and data: ${told.dataDir}`,
    '',
    '',
  ].join('\n');
}

/** A word of warning where the machine may be too small; empty where it is not. */
function memoryNote(parameters: number, size: SwarmSize, hasLiar: boolean): string {
  const needed = bytesAtMost(parameters, size, size.nodes + (hasLiar ? 2 : 1));
  if (needed <= totalmem()) return '';
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(0)} GB`;
  return `This may take up to ${gigabytes(needed)} of memory, the machine has ${gigabytes(totalmem())}: --nodes 1 --no-liar takes least.\n`;
}

/** Told before the minutes that a demo takes, not after. @throws {SwarmError} USAGE */
async function checkResultFile(file: string | undefined): Promise<void> {
  if (file === undefined) return;
  const folder = dirname(resolve(file));
  await access(folder, constants.W_OK).catch((cause: unknown) => {
    throw new SwarmError(
      'USAGE',
      `--json-file: cannot write to ${folder}; make the folder, or name another`,
      {},
      { cause },
    );
  });
}

/** What another swarm left would take part in this one. @throws {SwarmError} USAGE */
async function checkDataDir(dataDir: string): Promise<void> {
  const found = await readdir(dataDir).catch(() => []); // missing: it is made; no folder: whoever makes it says so
  if (found.length > 0) throw new SwarmError('USAGE', `--data-dir: ${dataDir} is not empty; name a new folder`);
}

/** @returns the exit code */
export async function demo(options: DemoOptions): Promise<number> {
  await checkResultFile(options.jsonFile);
  const seed = options.seed ?? randomInt(MAX_COUNT + 1);
  const stamp = new Date().toISOString().replace(/[-:]/g, '').slice(0, 15);
  const dataDir = resolve(options.dataDir ?? join(defaultDataDir(), `demo-${stamp}`));
  await checkDataDir(dataDir);
  await choosePlacement(options, 'alone');
  const interrupt = new AbortController();
  const hurry = new AbortController();
  const onSignal = (): void => (interrupt.signal.aborted ? hurry : interrupt).abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const recipeFile = join(dataDir, 'recipe.json');
  const { recipe, folder, parameters } = await writeDemoRecipe({
    recipe: options.recipe,
    file: recipeFile,
    model: options.model,
    trainerDir: processDir(dataDir, 'trainer'),
    verifierDir: processDir(dataDir, 'verifier'),
  });
  const size = swarmSize(parameters, availableParallelism(), options);
  const maxSteps = options.steps ?? recipe.grpo.maxSteps ?? MAX_STEPS;
  process.stdout.write(memoryNote(parameters, size, options.liar));
  process.stdout.write(greeting(options, recipe, size, { seed, dataDir }));
  const result = await runDemo({
    ...{ dataDir, recipeFile, folder, size, seed, maxSteps },
    goal: goalFor(options),
    hasLiar: options.liar,
    device: options.device,
    out: process.stdout,
    signal: interrupt.signal,
    hurry: hurry.signal,
  });
  if (options.jsonFile !== undefined) await writeFile(options.jsonFile, `${JSON.stringify(result.summary, null, 2)}\n`);
  process.stdout.write(renderSummary(result.summary, dataDir, result.learned));
  if (result.interrupted) return EXIT_INTERRUPTED;
  return result.learned || result.summary.steps >= maxSteps ? EXIT_OK : EXIT_FAILED;
}
