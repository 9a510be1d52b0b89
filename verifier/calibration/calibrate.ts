// A recipe's limits from honest runs, then honest runs and lies held against them. Three parts that share no group: the first finds
// limits, the second tells how often they reject honest work, the third what they catch.
// Source: spec/rollouts.md "Limits have two sides": negative controls are part of the product. Engines and disk come in as ports.

import { SwarmError } from '../../node/protocol/errors.ts';
import type { PolicyEngine, PolicyFiles } from '../../node/protocol/ports.ts';
import { limitsOf } from '../checks/subject.ts';
import type { Share } from './clopper-pearson.ts';
import type { Setting, Truth } from './groups.ts';
import { runHonest } from './honest.ts';
import type { Lie, LieMaterial, LyingModel } from './lies/lies.ts';
import { type FoundLimit, findLimits, limitsFound } from './limits.ts';
import { type LieResult, runLie } from './lying.ts';
import type { PartKeeper } from './part.ts';
import type { Tally } from './tally.ts';

export interface CalibrationComponents {
  /** the first tells lies, the second replays them; honest work goes through every pair of two */
  readonly settings: readonly Setting[];
  /** loads a lying model into an engine under a root of its own. @returns the root in hex */
  readonly loadLie: (model: LyingModel, engine: PolicyEngine) => Promise<string>;
  /** of the same calibration, whose finished chunks are not made again; default: none */
  readonly keeper?: PartKeeper;
  /** hears of each part when it begins and after each chunk */
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
