// Runs `murmur calibrate`: wires engines, recipe and policy, writes the report and a recipe with the limits found.
// Invariant: the report is written when all is measured, each file whole; what was measured until then is kept beside it, so that a
// run that was stopped goes on. Lying models live in a temporary folder that goes in any case.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { type CalibrationResult, calibrate } from '../../../verifier/calibration/calibrate.ts';
import { reportChart } from '../../../verifier/calibration/chart.ts';
import type { Setting, Truth } from '../../../verifier/calibration/groups.ts';
import { LIES, type LyingModel } from '../../../verifier/calibration/lies/lies.ts';
import type { FoundLimit } from '../../../verifier/calibration/limits.ts';
import { reportMarkdown } from '../../../verifier/calibration/markdown.ts';
import type { PartKeeper } from '../../../verifier/calibration/part.ts';
import { type CalibrationReport, type CalibrationSubject, reportJson } from '../../../verifier/calibration/report.ts';
import { createPolicyEngine } from '../../model/engine/engine.ts';
import { bucketFor } from '../../model/engine/kv-cache.ts';
import { loadModelFolder, type ModelFolder, saveModelFolder, writeFileWhole } from '../../model/folder.ts';
import { policyRoot } from '../../model/policy-root.ts';
import { loadTokenizer } from '../../model/tokenizer.ts';
import { weightsFileOf } from '../../model/weight-files.ts';
import { parameterCount } from '../../model/weights.ts';
import { toHex } from '../../protocol/bytes.ts';
import type { PolicyEngine } from '../../protocol/ports.ts';
import { openKeptParts } from '../calibration-kept.ts';
import { showCalibration } from '../calibration-progress.ts';
import type { CalibrateOptions } from '../commands/calibrate.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { untilInterrupted } from '../interrupt.ts';
import { findModel } from '../model-folder.ts';
import { findRecipeFile, readRecipeSource, resolveUnsigned } from '../recipe-source.ts';
import { packageVersion } from '../shipped.ts';
import { recipeModelOf, startModel } from '../start-model.ts';

/** Groups an engine is given at once: a batch as full as it gets, and a small one. */
const BATCHES = [64, 4] as const;
/** Share of `--groups` that limits are found on, beside them. */
const LIMIT_SHARE = 1 / 5;
const CHART_FILE = 'calibration.svg';
const KEPT_FILE = 'unfinished.json';

interface Subject {
  readonly model: ModelFolder;
  readonly previous: ModelFolder | null;
  readonly weightsFile: string;
  readonly truth: Truth;
}

/** Recipe and policy. */
async function loadSubject({ recipe, model: asked, previous }: CalibrateOptions): Promise<Subject> {
  const source = await readRecipeSource(recipe);
  const { folder } = asked === undefined ? await startModel(undefined, source) : await findModel(asked);
  const named = await recipeModelOf({ folder, hubId: null });
  const model = await loadModelFolder(folder);
  const { vocabSize, hiddenSize } = model.config;
  const tokenizer = await loadTokenizer(folder, vocabSize);
  return {
    model,
    previous: previous === undefined ? null : await loadModelFolder((await findModel(previous)).folder),
    weightsFile: await weightsFileOf(folder),
    truth: {
      context: { recipe: resolveUnsigned(source, named), tokenizer, modelVocabulary: vocabSize, hiddenSize },
      policyRoot: named.initialPolicyRoot,
    },
  };
}

/** An engine a thread count; a large batch in each, and a small one in a cache one bucket wider. */
function settingsOf(options: CalibrateOptions, { truth, model }: Subject): readonly Setting[] {
  const { sampling } = truth.context.recipe.recipe;
  const counts = new Set(options.threads ?? [1, 2, availableParallelism()]);
  // One sequence more, whose prompt alone is as long as others get, so that all attend over a wider cache.
  const wide = bucketFor(sampling.maxNewTokens) + bucketFor(1) * 2;
  const crowdTokens = wide + sampling.maxNewTokens <= model.config.maxPositions ? wide : 0;
  const engines = [...counts].map((threads) => ({
    threads,
    engine: createPolicyEngine({ threads, memoryBytes: options.memory }),
  }));
  const all = (threads: number): string => (threads === 1 ? '1 thread' : `${threads} threads`);
  return BATCHES.flatMap((groupsPerCall, i) =>
    engines.map(({ threads, engine }) => ({
      name: `${all(threads)}, ${groupsPerCall} groups a call${i > 0 && crowdTokens > 0 ? ', wider cache' : ''}`,
      ...{ engine, groupsPerCall, crowdTokens: i > 0 ? crowdTokens : 0 },
    })),
  );
}

/** Lying models on disk, where engines read them: rounded to bf16, as any policy is. */
function lieLoader(dir: string): (model: LyingModel, engine: PolicyEngine) => Promise<string> {
  let made = 0;
  return async (model, engine) => {
    const folder = join(dir, String(made++));
    await saveModelFolder(folder, model);
    const { weights, configJson } = await loadModelFolder(folder);
    const root = toHex(policyRoot(weights));
    await engine.load({ policyRoot: root, configJson, weightsFile: await weightsFileOf(folder) });
    return root;
  };
}

function measureAll(
  options: CalibrateOptions,
  subject: Subject,
  settings: readonly Setting[],
  dir: string,
  keeper: PartKeeper,
): Promise<CalibrationResult> {
  const { truth, model, previous, weightsFile } = subject;
  const allGroups = limitGroupsOf(options) + options.groups + options.lies.length * options.lieGroups;
  return untilInterrupted((signal) => {
    process.stderr.write(`ready, holding against each other: ${settings.map(({ name }) => name).join('; ')}\n`);
    return calibrate(
      { settings, loadLie: lieLoader(dir), keeper, onProgress: showCalibration(process.stderr, allGroups) },
      {
        truth,
        files: { policyRoot: truth.policyRoot, configJson: model.configJson, weightsFile },
        material: { policy: model, previous, learningRate: truth.context.recipe.recipe.grpo.learningRate },
        lies: LIES.filter(({ name }) => options.lies.includes(name)),
        limitGroups: limitGroupsOf(options),
        honestGroups: options.groups,
        lieGroups: options.lieGroups,
        signal,
      },
    );
  });
}

function limitGroupsOf({ groups }: CalibrateOptions): number {
  return Math.max(1, Math.round(groups * LIMIT_SHARE));
}

/** What a part's counts depend on: of anything else kept before they are counts of another thing. */
function subjectKey({ groups, lieGroups }: CalibrateOptions, subject: Subject, settings: readonly Setting[]): string {
  const { truth, previous } = subject;
  const rootOf = ({ weights }: ModelFolder): string => toHex(policyRoot(weights));
  return JSON.stringify({
    version: packageVersion(),
    ...{ recipe: truth.context.recipe.recipeIdHex, policy: truth.policyRoot, groups, lieGroups },
    previous: previous === null ? null : rootOf(previous),
    settings: settings.map(({ name }) => name),
  });
}

function subjectOf(options: CalibrateOptions, subject: Subject, settings: readonly Setting[]): CalibrationSubject {
  const { recipe } = subject.truth.context.recipe;
  const rate = recipe.grpo.learningRate;
  const only = options.lies.length === LIES.length ? '' : ` --lies ${options.lies.join(',')}`;
  return {
    recipe: recipe.name,
    policyRoot: subject.truth.policyRoot,
    parameters: parameterCount(subject.model.weights),
    groupSize: recipe.groupSize,
    maxNewTokens: recipe.sampling.maxNewTokens,
    probationGroups: recipe.verification.probationGroups,
    settings: settings.map(({ name }) => name),
    machine: {
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      processors: availableParallelism(),
      platform: `${process.platform} ${process.arch}`,
      node: process.versions.node,
    },
    previous:
      subject.previous === null
        ? `made: each weight moved by the recipe's learning rate (${rate}), signs random, as one step of Adam moves it`
        : 'the one given with --previous',
    command: `murmur calibrate --recipe ${recipeWord(options.recipe)} --groups ${options.groups} --lie-groups ${options.lieGroups}${only}`,
  };
}

/** A path of this machine is nobody else's. */
function recipeWord(text: string): string {
  return /[/\\]/.test(text) ? 'FILE' : text;
}

/** The recipe as its author wrote it, comments and all, with the limits found. */
function recipeWith(text: string, limits: readonly FoundLimit[]): string {
  const document = parseDocument(text);
  for (const { limit, found, was } of limits) {
    if (found === was) continue;
    const isToploc = /^max(Exponent|Mantissa)/.test(limit);
    document.setIn(['verification', ...(isToploc ? ['toploc'] : []), limit], found);
  }
  return document.toString({ lineWidth: 120 });
}

async function write(options: CalibrateOptions, report: CalibrationReport): Promise<void> {
  const out = resolve(options.out);
  const text = await readFile(findRecipeFile(options.recipe), 'utf8');
  await writeFileWhole(join(out, 'recipe.yaml'), recipeWith(text, report.result.limits));
  await writeFileWhole(join(out, CHART_FILE), reportChart(report));
  await writeFileWhole(join(out, 'calibration.json'), reportJson(report));
  await writeFileWhole(join(out, 'calibration.md'), reportMarkdown(report, CHART_FILE));
}

function describe(out: string, { result }: CalibrationReport): string {
  const { count, of } = result.honest.verdict.groups;
  return [
    `honest groups rejected  ${count} of ${of}`,
    ...result.limits.map(({ limit, was, found, why }) =>
      found === was ? `${limit}  ${was}, as it was` : `${limit}  ${was} -> ${found}: ${why}`,
    ),
    ...result.lies.map(({ title, tally }) => {
      const { verdict, forged } = tally;
      return `${title}: careless ${verdict.groups.count}, forged ${forged.groups.count} of ${verdict.groups.of} groups caught`;
    }),
    `${out}: calibration.md, calibration.json, calibration.svg, recipe.yaml`,
    '',
  ].join('\n');
}

/** @returns exit code. @throws {SwarmError} INTERRUPTED, and as `startModel`, `findModel`, engines */
export async function runCalibrate(options: CalibrateOptions): Promise<number> {
  const subject = await loadSubject(options);
  const settings = settingsOf(options, subject);
  const dir = await mkdtemp(join(tmpdir(), 'murmur-calibrate-'));
  const kept = await openKeptParts(join(resolve(options.out), KEPT_FILE), subjectKey(options, subject, settings));
  if (kept.isResumed) process.stderr.write(`going on from ${join(options.out, KEPT_FILE)}\n`);
  try {
    const result = await measureAll(options, subject, settings, dir, kept.keeper);
    const report: CalibrationReport = { version: 1, subject: subjectOf(options, subject, settings), result };
    await write(options, report);
    await kept.forget();
    process.stdout.write(options.json ? reportJson(report) : describe(options.out, report));
    return EXIT_OK;
  } finally {
    for (const engine of new Set(settings.map((each) => each.engine))) await engine.close();
    await rm(dir, { recursive: true, force: true });
    await kept.flush();
  }
}
