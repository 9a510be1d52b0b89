// A recipe's limits from honest runs, then honest runs and lies held against them. Three parts that share no group: the first finds
// limits, the second tells how often they reject honest work, the third what they catch.
// Source: spec/rollouts.md "Limits have two sides": negative controls are part of the product. Engines and disk come in as ports.

import { SwarmError } from '../../node/protocol/errors.ts';
import type { PolicyEngine, PolicyFiles } from '../../node/protocol/ports.ts';
import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { limitsOf } from '../checks/subject.ts';
import { type Share, share } from './clopper-pearson.ts';
import { assign, generate, honestSampling, replay, type Setting, type Told, type Truth } from './groups.ts';
import { type JudgedGroup, judgeGroup } from './judge.ts';
import type { Lie, LieMaterial, LyingModel } from './lies/lies.ts';
import { lyingRun, tell } from './lies/tell.ts';
import { type FoundLimit, findLimits, limitsFound } from './limits.ts';
import { createTally, type Tally } from './tally.ts';
import { chanceOf, groupsUntilQuarantine } from './theory.ts';

/** Groups in flight at once: what is generated while the ones before are judged. */
const CHUNK_GROUPS = 64;

export interface CalibrationComponents {
  /** the first tells lies, the second replays them; honest work goes through every pair of two */
  readonly settings: readonly Setting[];
  /** loads a lying model into an engine under a root of its own. @returns the root in hex */
  readonly loadLie: (model: LyingModel, engine: PolicyEngine) => Promise<string>;
  readonly onProgress?: (part: string, done: number, of: number) => void;
}

export interface CalibrationInit {
  readonly truth: Truth;
  readonly files: PolicyFiles;
  readonly material: LieMaterial;
  readonly lies: readonly Lie[];
  /** groups that limits are made of, then those that they are held against */
  readonly limitGroups: number;
  readonly honestGroups: number;
  readonly lieGroups: number;
  readonly signal?: AbortSignal;
}

/** Theory beside measurement, of a forger. */
export interface Theory {
  /** mean chance that a group is caught: draws in token-id order */
  readonly overlap: number;
  /** standard deviation of the share caught, were theory right */
  readonly deviation: number;
  /** 1 − Π(1 − ½·L1) over a group's tokens, mean; null where it says nothing */
  readonly halfL1: number | null;
}

export interface LieResult {
  readonly name: string;
  readonly title: string;
  readonly tally: Tally;
  readonly theory: Theory;
  /** groups checked whole until quarantine, on average, at the measured share; null: never */
  readonly untilQuarantine: { readonly careless: number | null; readonly forged: number | null };
}

export interface PairResult {
  readonly made: string;
  readonly replayed: string;
  readonly rejected: Share;
}

export interface CalibrationResult {
  readonly limits: readonly FoundLimit[];
  readonly calibratedOn: Tally;
  readonly honest: Tally;
  readonly pairs: readonly PairResult[];
  readonly lies: readonly LieResult[];
}

/** @throws {SwarmError} INTERRUPTED, USAGE (fewer than two settings), and as engines */
export async function calibrate(components: CalibrationComponents, init: CalibrationInit): Promise<CalibrationResult> {
  const { settings } = components;
  if (settings.length < 2)
    throw new SwarmError('USAGE', 'A calibration needs two settings at least to hold one against the other.');
  for (const engine of new Set(settings.map((each) => each.engine))) await engine.load(init.files);
  const asked = limitsOf(init.truth.context.recipe);
  const first = await runHonest(components, init, 'limits', init.limitGroups, asked);
  const limits = findLimits(first.tally.largest, asked);
  const held = limitsFound(limits);
  const honest = await runHonest(components, init, 'honest', init.honestGroups, held);
  const lies: LieResult[] = [];
  for (const lie of init.lies) lies.push(await runLie(components, init, lie, held));
  return { limits, calibratedOn: first.tally, honest: honest.tally, pairs: honest.pairs, lies };
}

/** Ordered pairs of unlike settings. */
function pairsOf(settings: readonly Setting[]): (readonly [made: Setting, replayed: Setting])[] {
  return settings.flatMap((made) => settings.filter((other) => other !== made).map((other) => [made, other] as const));
}

async function runHonest(
  { settings, onProgress }: CalibrationComponents,
  { truth, signal }: CalibrationInit,
  part: string,
  count: number,
  limits: VerificationLimits,
): Promise<{ readonly tally: Tally; readonly pairs: readonly PairResult[] }> {
  const sampling = honestSampling(truth);
  const tally = createTally(limits);
  const pairs = pairsOf(settings).map(([made, replayed]) => ({ made, replayed, groups: 0, rejected: 0 }));
  const chunks = chunksOf(count, pairs.length);
  await pipeline(
    chunks,
    async ({ from, size }, k): Promise<readonly Told[]> => {
      const { made } = pairs[k % pairs.length]!;
      const assigned = assign(truth, part, from, size);
      const drawn = await generate(
        made,
        truth.policyRoot,
        sampling,
        assigned.map(({ request }) => request),
        signal,
      );
      return assigned.map((of, g) => ({ assigned: of, sequences: drawn[g]!, lied: drawn[g]!.map(() => false) }));
    },
    async (told, { from, size }, k) => {
      const pair = pairs[k % pairs.length]!;
      const replayed = await replay(pair.replayed, truth.policyRoot, sampling, told, signal);
      told.forEach((group, g) => {
        const judged = judgeGroup(truth, group, replayed[g]!, limits);
        pair.groups++;
        if (isRejected(judged)) pair.rejected++;
        tally.add(judged);
      });
      onProgress?.(part, from + size, count);
    },
  );
  const told = pairs.map(({ made, replayed, groups, rejected }) => ({
    made: made.name,
    replayed: replayed.name,
    rejected: share(rejected, groups),
  }));
  return { tally: tally.result(), pairs: told };
}

function isRejected({ stageOne, sequences }: JudgedGroup): boolean {
  return stageOne === 'reject' || sequences.some(({ answer }) => answer === 'reject');
}

async function runLie(
  { settings, loadLie, onProgress }: CalibrationComponents,
  { truth, material, lieGroups, signal }: CalibrationInit,
  lie: Lie,
  limits: VerificationLimits,
): Promise<LieResult> {
  const [liar, verifier] = settings as readonly [Setting, Setting];
  const root = lie.kind === 'model' ? await loadLie(lie.model(material), liar.engine) : truth.policyRoot;
  const run = lyingRun(lie, truth, root);
  const tally = createTally(limits);
  const chances: { overlap: number; halfL1: number | null }[] = [];
  await pipeline(
    chunksOf(lieGroups, 1),
    async ({ from, size }) => {
      const told = await tell(lie, truth, run, liar, assign(truth, lie.name, from, size), signal);
      return { told, own: await replay(liar, run.policyRoot, run.sampling, told, signal) };
    },
    async ({ told, own }, { from, size }) => {
      const replayed = await replay(verifier, truth.policyRoot, honestSampling(truth), told, signal);
      told.forEach((group, g) => {
        // The better of two tries is often the first: then nothing false was told.
        if (!group.lied.includes(true)) return;
        tally.add(judgeGroup(truth, group, replayed[g]!, limits));
        chances.push(chanceOf(lie, group, own[g]!, replayed[g]!));
      });
      onProgress?.(lie.name, from + size, lieGroups);
    },
  );
  if (lie.kind === 'model') await liar.engine.unload(root);
  const result = tally.result();
  const { probationGroups } = truth.context.recipe.recipe.verification;
  const until = ({ count, of }: Share): number | null => {
    const groups = groupsUntilQuarantine(of === 0 ? 0 : count / of, probationGroups);
    return Number.isFinite(groups) ? groups : null;
  };
  return {
    ...{ name: lie.name, title: lie.title, tally: result, theory: theoryOf(chances) },
    untilQuarantine: { careless: until(result.verdict.groups), forged: until(result.forged.groups) },
  };
}

function theoryOf(chances: readonly { readonly overlap: number; readonly halfL1: number | null }[]): Theory {
  const count = Math.max(1, chances.length);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / count;
  const halves = chances.map(({ halfL1 }) => halfL1);
  return {
    overlap: mean(chances.map(({ overlap }) => overlap)),
    deviation: Math.sqrt(mean(chances.map(({ overlap }) => overlap * (1 - overlap))) / count),
    halfL1: halves.includes(null) ? null : mean(halves as number[]),
  };
}

interface Chunk {
  readonly from: number;
  readonly size: number;
}

/** `count` groups in chunks, at least `least` of them if there are as many groups. */
function chunksOf(count: number, least: number): Chunk[] {
  const size = Math.max(1, Math.min(CHUNK_GROUPS, Math.floor(count / least)));
  const chunks: Chunk[] = [];
  for (let from = 0; from < count; from += size) chunks.push({ from, size: Math.min(size, count - from) });
  return chunks;
}

/** Makes the next chunk while the one before is consumed, in order. Both are settled when it throws. */
async function pipeline<C, T>(
  chunks: readonly C[],
  make: (chunk: C, index: number) => Promise<T>,
  consume: (made: T, chunk: C, index: number) => Promise<void>,
): Promise<void> {
  let ahead = chunks.length > 0 ? make(chunks[0]!, 0) : null;
  for (const [index, chunk] of chunks.entries()) {
    const made = await ahead!;
    const next = index + 1 < chunks.length ? make(chunks[index + 1]!, index + 1) : null;
    next?.catch(() => undefined); // told when it is awaited
    await consume(made, chunk, index);
    ahead = next;
  }
}
