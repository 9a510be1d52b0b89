// One lie held against limits, told carelessly and by a forger: the same groups, judged with the liar's claims and with true ones.
// Beside the counts, what theory says of the forger, and how long either lasts.

import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { createTopValuesScratch } from '../toploc/top-values.ts';
import type { CalibrationComponents, CalibrationInit } from './calibrate.ts';
import type { Share } from './clopper-pearson.ts';
import { assign, honestSampling, replay, type Setting } from './groups.ts';
import { judgeGroup } from './judge.ts';
import type { Lie } from './lies/lies.ts';
import { lyingRun, tell } from './lies/tell.ts';
import { chunksOf, FORGETFUL, pipeline } from './part.ts';
import { createTally, type Tally } from './tally.ts';
import { asksLiarsModel, type Chances, createChances, type Detection, detectionOf } from './theory.ts';

export interface LieResult {
  readonly name: string;
  readonly title: string;
  readonly tally: Tally;
  readonly theory: Chances;
  /** of a peer that tells nothing else, at the measured share of groups */
  readonly detection: { readonly careless: Detection; readonly forged: Detection };
}

/** The first setting tells, the second replays. */
export async function runLie(
  components: CalibrationComponents,
  init: CalibrationInit,
  lie: Lie,
  limits: VerificationLimits,
): Promise<LieResult> {
  const { settings, loadLie, keeper = FORGETFUL } = components;
  const liar = settings[0]!;
  const isTold = (keeper.read(lie.name)?.done ?? 0) >= init.lieGroups;
  const isModel = lie.kind === 'model' && !isTold;
  const root = isModel ? await loadLie(lie.model(init.material), liar.engine) : init.truth.policyRoot;
  const { tally, chances } = await tellAndJudge(components, init, lie, limits, root);
  if (isModel) await liar.engine.unload(root);
  const { probationGroups } = init.truth.context.recipe.recipe.verification;
  const detection = ({ count, of }: Share): Detection => detectionOf(of === 0 ? 0 : count / of, probationGroups);
  return {
    ...{ name: lie.name, title: lie.title, tally, theory: chances },
    detection: { careless: detection(tally.verdict.groups), forged: detection(tally.forged.groups) },
  };
}

/** @param root hex, of the model that the liar runs */
async function tellAndJudge(
  { settings, keeper = FORGETFUL, onProgress }: CalibrationComponents,
  { truth, lieGroups, signal }: CalibrationInit,
  lie: Lie,
  limits: VerificationLimits,
  root: string,
): Promise<{ readonly tally: Tally; readonly chances: Chances }> {
  const [liar, verifier] = settings as readonly [Setting, Setting];
  const run = lyingRun(lie, truth, root);
  const before = keeper.read(lie.name);
  const tally = createTally(limits, before?.tally);
  const chances = createChances(lie, limits.delta, before?.chances);
  const scratch = createTopValuesScratch();
  onProgress?.(lie.name, before?.done ?? 0, lieGroups);
  await pipeline(
    chunksOf(lieGroups, 1, before?.done ?? 0),
    async ({ from, size }) => {
      const told = await tell(lie, truth, run, liar, assign(truth, lie.name, from, size), signal);
      const [own, replayed] = await Promise.all([
        asksLiarsModel(lie) ? replay(liar, run.policyRoot, run.sampling, told, signal) : null,
        replay(verifier, truth.policyRoot, honestSampling(truth), told, signal),
      ]);
      return { told, own, replayed };
    },
    ({ told, own, replayed }, { from, size }) => {
      told.forEach((group, g) => {
        // The better of two tries is often the first: then nothing false was told.
        if (!group.lied.includes(true)) return;
        tally.add(judgeGroup(truth, group, replayed[g]!, limits, scratch));
        chances.add(group, own?.[g] ?? null, replayed[g]!);
      });
      keeper.keep(lie.name, { done: from + size, tally: tally.state(), chances: chances.state() });
      onProgress?.(lie.name, from + size, lieGroups);
    },
  );
  return { tally: tally.result(), chances: chances.result() };
}
