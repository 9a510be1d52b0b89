// Honest work held against limits: each group generated in one setting and replayed in another, all ordered pairs of two in turns.

import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { createTopValuesScratch } from '../toploc/top-values.ts';
import type { CalibrationComponents, CalibrationInit, PairResult } from './calibrate.ts';
import { share } from './clopper-pearson.ts';
import { assign, generate, honestSampling, replay, type Setting, type Told } from './groups.ts';
import { type JudgedGroup, judgeGroup } from './judge.ts';
import { type Chunk, chunksOf, FORGETFUL, pipeline } from './part.ts';
import { createTally, type Tally } from './tally.ts';

export interface HonestResult {
  readonly tally: Tally;
  readonly pairs: readonly PairResult[];
}

/** Ordered pairs of unlike settings. */
function pairsOf(settings: readonly Setting[]): (readonly [made: Setting, replayed: Setting])[] {
  return settings.flatMap((made) => settings.filter((other) => other !== made).map((other) => [made, other] as const));
}

/** @param part names the part, and the made-up peer whose slots are filled */
export async function runHonest(
  { settings, keeper = FORGETFUL, onProgress }: CalibrationComponents,
  { truth, signal }: CalibrationInit,
  part: string,
  count: number,
  limits: VerificationLimits,
): Promise<HonestResult> {
  const sampling = honestSampling(truth);
  const before = keeper.read(part);
  const tally = createTally(limits, before?.tally);
  const scratch = createTopValuesScratch();
  const pairs = pairsOf(settings).map(([made, replayed], k) => ({
    ...{ made, replayed, groups: 0, rejected: 0 },
    ...before?.pairs?.[k],
  }));
  const pairOf = ({ index }: Chunk) => pairs[index % pairs.length]!;
  onProgress?.(part, before?.done ?? 0, count);
  await pipeline(
    chunksOf(count, pairs.length, before?.done ?? 0),
    async (chunk) => {
      const pair = pairOf(chunk);
      const assigned = assign(truth, part, chunk.from, chunk.size);
      const requests = assigned.map(({ request }) => request);
      const drawn = await generate(pair.made, truth.policyRoot, sampling, requests, signal);
      const told = assigned.map((of, g): Told => {
        return { assigned: of, sequences: drawn[g]!, lied: drawn[g]!.map(() => false) };
      });
      return { told, replayed: await replay(pair.replayed, truth.policyRoot, sampling, told, signal) };
    },
    ({ told, replayed }, chunk) => {
      const pair = pairOf(chunk);
      told.forEach((group, g) => {
        const judged = judgeGroup(truth, group, replayed[g]!, limits, scratch);
        pair.groups++;
        if (isRejected(judged)) pair.rejected++;
        tally.add(judged);
      });
      const done = chunk.from + chunk.size;
      keeper.keep(part, {
        ...{ done, tally: tally.state() },
        pairs: pairs.map(({ groups, rejected }) => ({ groups, rejected })),
      });
      onProgress?.(part, done, count);
    },
  );
  return {
    tally: tally.result(),
    pairs: pairs.map(({ made, replayed, groups, rejected }) => ({
      made: made.name,
      replayed: replayed.name,
      rejected: share(rejected, groups),
    })),
  };
}

function isRejected({ stageOne, sequences }: JudgedGroup): boolean {
  return stageOne === 'reject' || sequences.some(({ answer }) => answer === 'reject');
}
