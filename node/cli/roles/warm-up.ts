// Runs `murmur warm-up`: wires tasks, tokenizer and training engine, writes the model folder and its card, evaluates it.
// Invariant: the folder is written only by a run that finished; one that was interrupted leaves its checkpoint.

import { createHash } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { ResolvedRecipe } from '../../../recipes/resolve.ts';
import { taskFamily } from '../../../recipes/tasks/table.ts';
import { createTrainingEngine } from '../../../trainer/engine/create.ts';
import type { TrainingEngine } from '../../../trainer/engine/engine.ts';
import { ADAMW_DEFAULTS } from '../../../trainer/optim/adamw.ts';
import { type WarmUpProgress, type WarmUpResult, warmUp } from '../../../trainer/warm-up.ts';
import {
  createWarmUpBatches,
  STARTER_PHASES,
  totalSteps,
  type WarmUpPhase,
  type WarmUpTask,
} from '../../../trainer/warm-up-batches.ts';
import { parseModelConfig } from '../../model/config.ts';
import type { Placement } from '../../model/device.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { modelFingerprint, writeFileWhole } from '../../model/folder.ts';
import { parseJson } from '../../model/small-files.ts';
import { loadTokenizer, type Tokenizer } from '../../model/tokenizer.ts';
import { WEIGHTS_FILE } from '../../model/weight-files.ts';
import { toHex } from '../../protocol/bytes.ts';
import { SwarmError } from '../../protocol/errors.ts';
import type { WarmUpOptions } from '../commands/warm-up.ts';
import { choosePlacement } from '../compute.ts';
import { type Evaluation, evaluatePolicy, heldOutTasks } from '../evaluate.ts';
import { EXIT_INTERRUPTED, EXIT_OK } from '../exit-codes.ts';
import { untilInterrupted } from '../interrupt.ts';
import { NOBODY, readRecipeSource, resolveUnsigned } from '../recipe-source.ts';

const REPORT_EVERY_STEPS = 20;
const RATE_WARM_UP_STEPS = 50;
/** Share of the learning rate that is left at the end: the last steps settle what was learned. */
const RATE_FLOOR = 0.1;
const EVALUATION_MEMORY_BYTES = 1e9;
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json'] as const;

const NO_MODEL = { initialPolicyRoot: NOBODY, configHash: NOBODY, tokenizerHash: NOBODY };

function tasksOf({ recipe }: ResolvedRecipe): WarmUpTask[] {
  if (recipe.tasks.some((task) => task.chat !== undefined)) {
    throw new SwarmError(
      'RECIPE_INVALID',
      `${recipe.name} asks in chats, and a warm-up makes a model without a chat template: take a pretrained one`,
      { recipe: recipe.name },
    );
  }
  return recipe.tasks.flatMap((task) =>
    'rows' in task ? [] : [{ family: taskFamily(task.task), settings: task.settings, weight: task.weight }],
  );
}

/** The starter model's phases, stretched to another number of steps. */
function phasesFor(steps: number | undefined): readonly WarmUpPhase[] {
  if (steps === undefined) return STARTER_PHASES;
  const [first, last] = STARTER_PHASES as [WarmUpPhase, WarmUpPhase];
  const thinking = Math.round((steps * first.steps) / totalSteps(STARTER_PHASES));
  return [
    { ...first, steps: thinking },
    { ...last, steps: steps - thinking },
  ];
}

interface Setting {
  readonly options: WarmUpOptions;
  readonly recipe: ResolvedRecipe;
  readonly tokenizer: Tokenizer;
  readonly configJson: string;
  readonly phases: readonly WarmUpPhase[];
  readonly placement: Placement;
}

async function openEngine({
  options,
  recipe,
  tokenizer,
  configJson,
  phases,
  placement,
}: Setting): Promise<TrainingEngine> {
  const { sampling, grpo } = recipe.recipe;
  return createTrainingEngine({
    source: { configJson, seed: options.seed },
    objective: { ...grpo, klCoef: 0, entropyCoef: 0, maxNewTokens: sampling.maxNewTokens },
    temperature: sampling.temperature,
    tokenCount: tokenizer.vocabSize,
    optimizer: ADAMW_DEFAULTS,
    schedule: {
      learningRate: options.learningRate,
      warmUpSteps: RATE_WARM_UP_STEPS,
      decaySteps: totalSteps(phases),
      floor: RATE_FLOOR,
    },
    clipNorm: 1,
    ...placement,
    microBatchTokens: 2048,
  });
}

function report(options: WarmUpOptions, line: object, text: string): void {
  process.stdout.write(options.json ? `${JSON.stringify(line)}\n` : `${text}\n`);
}

function progressText({ step, steps, meanLoss, gradientNorm, stepMs }: WarmUpProgress): string {
  const left = Math.round(((steps - step) * stepMs) / 1000);
  return `step ${String(step).padStart(5)}/${steps}  loss ${meanLoss.toFixed(4)}  gradient ${gradientNorm.toFixed(2)}  ${stepMs.toFixed(0)} ms a step  ${left} s left`;
}

function runIdOf({ options, recipe, configJson, phases }: Setting): string {
  const { seed, batch, learningRate } = options;
  const what = JSON.stringify([recipe.recipe.tasks, configJson, phases, seed, batch, learningRate]);
  return createHash('sha256').update(what).digest('hex');
}

async function train(setting: Setting, engine: TrainingEngine, checkpointDir: string): Promise<WarmUpResult> {
  const { options, recipe, tokenizer, phases } = setting;
  const nextBatch = createWarmUpBatches({
    tasks: tasksOf(recipe),
    phases,
    sequencesPerStep: options.batch,
    seed: options.seed,
    encode: (text) => tokenizer.encode(text, { addSpecialTokens: false }),
    endToken: recipe.recipe.sampling.endTokens[0]!,
  });
  return untilInterrupted((signal) =>
    warmUp({
      engine,
      nextBatch,
      steps: totalSteps(phases),
      checkpoints: { dir: checkpointDir, everySteps: options.checkpointEvery, runId: runIdOf(setting) },
      reportEverySteps: REPORT_EVERY_STEPS,
      onProgress: (progress) => report(options, { event: 'step', ...progress }, progressText(progress)),
      nowMs: () => performance.now(),
      signal,
    }),
  );
}

async function writeFolder({ options, configJson }: Setting, engine: TrainingEngine): Promise<string> {
  const out = resolve(options.out);
  const { safetensors, policyRoot } = await engine.policy();
  await mkdir(out, { recursive: true });
  for (const file of TOKENIZER_FILES) {
    const bytes = await readFile(join(options.base, file));
    await writeFileWhole(join(out, file), bytes);
  }
  await writeFileWhole(join(out, 'config.json'), configJson);
  await writeFileWhole(join(out, WEIGHTS_FILE), safetensors);
  return toHex(policyRoot);
}

async function evaluateFolder(setting: Setting): Promise<Evaluation | null> {
  const { options, recipe, tokenizer, configJson, placement } = setting;
  if (options.evalTasks === 0) return null;
  const engine = createPolicyEngine({ ...placement, memoryBytes: EVALUATION_MEMORY_BYTES });
  try {
    const policyRoot = toHex((await modelFingerprint(options.out)).policyRoot);
    await engine.load({ policyRoot, configJson, weightsFile: join(options.out, WEIGHTS_FILE) });
    const sampling = { ...recipe.recipe.sampling, tokenCount: tokenizer.vocabSize };
    const tasks = await heldOutTasks(recipe, tokenizer, options.evalTasks, 0);
    return await evaluatePolicy({ engine, policyRoot, recipe, tokenizer, sampling }, tasks);
  } finally {
    await engine.close();
  }
}

function modelCard(
  { options, recipe, configJson, phases }: Setting,
  policyRoot: string,
  evaluation: Evaluation | null,
): string {
  const config = parseModelConfig(JSON.parse(configJson));
  const tasks = tasksOf(recipe).map(({ family }) => `\`${family.name}@${family.version}\``);
  const shown = phases.filter(({ steps }) => steps > 0);
  const mix = shown.map(
    ({ steps, thinkingShare }) => `${steps} steps with ${Math.round(100 * thinkingShare)} % thinking`,
  );
  const flags = [
    `--recipe ${options.recipe}`,
    `--seed ${options.seed}`,
    `--steps ${totalSteps(phases)}`,
    `--batch ${options.batch}`,
    `--learning-rate ${options.learningRate}`,
  ];
  const figures = evaluation
    ? `Sampled at temperature ${recipe.recipe.sampling.temperature} it answers ${(100 * evaluation.accuracy).toFixed(1)} % of ${evaluation.tasks} held-out problems, with ${evaluation.completionTokensMean.toFixed(1)} tokens a completion.`
    : '';
  return `---
license: apache-2.0
library_name: transformers
tags: [murmuration, grpo]
---

# A warmed-up model for ${recipe.recipe.name}

A \`${config.architecture}\` of ${config.layers} layers, width ${config.hiddenSize}, ${config.heads} heads, feed-forward ${config.intermediateSize} and a vocabulary of ${config.vocabSize},
made from random weights by imitating generated demonstrations of ${tasks.join(', ')} and nothing else: no text of anybody's.
It has seen two ways to answer, thinking step by step first and blurting the answer out: ${mix.join(', then ')}.
So it can think and mostly does not; GRPO finds out that thinking pays.

${figures}

## Making it again

\`\`\`sh
murmur warm-up ${flags.join(' ')} --out DIR
\`\`\`

The problems and the initial weights are functions of the seed. Sums of floating-point numbers depend on the processor and the
number of threads, so the weights come out alike but not bit for bit.

Policy root: \`${policyRoot}\`
`;
}

/** @returns exit code */
export async function runWarmUp(options: WarmUpOptions): Promise<number> {
  const recipe = resolveUnsigned(await readRecipeSource(options.recipe), NO_MODEL);
  const configJson = await readFile(join(options.base, 'config.json'), 'utf8').catch((cause: unknown) => {
    throw new SwarmError(
      'MODEL_FILE_MISSING',
      `no config.json in ${options.base}: name a folder with --base`,
      {},
      { cause },
    );
  });
  const tokenizer = await loadTokenizer(options.base, parseModelConfig(parseJson(configJson, 'config.json')).vocabSize);
  const phases = phasesFor(options.steps);
  const setting: Setting = {
    options,
    recipe,
    tokenizer,
    configJson,
    phases,
    placement: await choosePlacement(options, 'alone'),
  };
  const checkpointDir = `${resolve(options.out)}.checkpoints`;
  const engine = await openEngine(setting);
  let policyRoot: string;
  try {
    const { step, finished } = await train(setting, engine, checkpointDir);
    if (!finished) {
      report(options, { event: 'interrupted', step }, `stopped at step ${step}; the same command goes on from there`);
      return EXIT_INTERRUPTED;
    }
    policyRoot = await writeFolder(setting, engine);
  } finally {
    await engine.close();
  }
  const evaluation = await evaluateFolder(setting);
  await writeFileWhole(join(options.out, 'README.md'), modelCard(setting, policyRoot, evaluation));
  await rm(checkpointDir, { recursive: true, force: true });
  const accuracy = evaluation ? `, held-out accuracy ${evaluation.accuracy.toFixed(3)} on ${evaluation.tasks}` : '';
  report(options, { event: 'done', out: options.out, policyRoot, evaluation }, `wrote ${options.out}${accuracy}`);
  return EXIT_OK;
}
