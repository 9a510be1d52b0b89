// Counts of judged groups: what was caught, by which check, and by which alone. Everything the report says of them.

import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { type Share, share } from './clopper-pearson.ts';
import { type JudgedGroup, verdictOf } from './judge.ts';
import { MEASURES, type MeasureName, type Measures, NO_DISTANCE, rejects, worstOf } from './measure.ts';

/** Stage 1 is one check here, the measures of stage 2 one each. */
export type CheckName = 'stage-one' | MeasureName;

export const CHECKS: readonly CheckName[] = ['stage-one', ...MEASURES];

/** What one check did by itself, whatever the others said. */
export interface CheckTally {
  /** null: stage 1 looks at groups */
  readonly sequences: Share | null;
  readonly groups: Share;
  /** groups that no other check rejected */
  readonly alone: number;
}

/** What all checks did together. */
export interface VerdictTally {
  readonly sequences: Share;
  readonly groups: Share;
  /** groups neither accepted nor rejected */
  readonly borderline: number;
}

/** p1, p25, p50, p75, p99 */
export type Quantiles = readonly number[];

export interface Tally {
  readonly groups: number;
  readonly sequences: number;
  readonly tokens: number;
  readonly softMisses: number;
  readonly verdict: VerdictTally;
  /** the same, claims forged: draws alone are left */
  readonly forged: VerdictTally;
  readonly byCheck: Readonly<Record<CheckName, CheckTally>>;
  readonly largest: Measures;
  readonly quantiles: Readonly<Record<MeasureName, Quantiles>>;
}

export interface Tallying {
  add(group: JudgedGroup): void;
  result(): Tally;
}

const QUANTILES = [0.01, 0.25, 0.5, 0.75, 0.99] as const;

interface Counts {
  sequences: number;
  groups: number;
  alone: number;
}

interface VerdictCounts {
  sequences: number;
  groups: number;
  borderline: number;
}

/** Counts against `limits`. Groups without a lied sequence are as the caller wants them: honest ones, or left out. */
export function createTally(limits: VerificationLimits): Tallying {
  const size = { groups: 0, sequences: 0, tokens: 0, softMisses: 0 };
  const counts = new Map<CheckName, Counts>(CHECKS.map((name) => [name, { sequences: 0, groups: 0, alone: 0 }]));
  const told: VerdictCounts = { sequences: 0, groups: 0, borderline: 0 };
  const forged: VerdictCounts = { sequences: 0, groups: 0, borderline: 0 };
  const seen = new Map<MeasureName, number[]>(MEASURES.map((name) => [name, []]));
  let largest = NO_DISTANCE;

  const countVerdicts = (into: VerdictCounts, group: JudgedGroup, claims: 'told' | 'forged'): void => {
    const verdict = verdictOf(group, claims);
    if (verdict === 'reject') into.groups++;
    if (verdict === 'ignore') into.borderline++;
    for (const { answer, forged: draws } of group.sequences) {
      if ((claims === 'told' ? answer : draws) === 'reject') into.sequences++;
    }
  };
  const countChecks = ({ stageOne, sequences }: JudgedGroup): void => {
    const rejecting = new Set<CheckName>(stageOne === 'reject' ? ['stage-one'] : []);
    for (const name of MEASURES) {
      const caught = sequences.filter(({ measures }) => rejects(measures, name, limits)).length;
      counts.get(name)!.sequences += caught;
      if (caught > 0) rejecting.add(name);
    }
    for (const name of rejecting) {
      counts.get(name)!.groups++;
      if (rejecting.size === 1) counts.get(name)!.alone++;
    }
  };
  const verdictTally = ({ sequences, groups, borderline }: VerdictCounts): VerdictTally => ({
    sequences: share(sequences, size.sequences),
    groups: share(groups, size.groups),
    borderline,
  });
  const checkTally = (name: CheckName): CheckTally => {
    const { sequences, groups, alone } = counts.get(name)!;
    return {
      sequences: name === 'stage-one' ? null : share(sequences, size.sequences),
      groups: share(groups, size.groups),
      alone,
    };
  };

  return {
    add(group) {
      // A lie is told in some sequences; the others of its group are as honest as any, and are no lie that was missed.
      const lied = group.sequences.filter((each) => each.lied);
      const counted = { ...group, sequences: lied.length > 0 ? lied : group.sequences };
      size.groups++;
      for (const { tokens, softMisses, measures } of counted.sequences) {
        size.sequences++;
        size.tokens += tokens;
        size.softMisses += softMisses;
        largest = worstOf(largest, measures);
        for (const name of MEASURES) seen.get(name)!.push(measures[name]);
      }
      countVerdicts(told, counted, 'told');
      countVerdicts(forged, counted, 'forged');
      countChecks(counted);
    },
    result: () => ({
      ...size,
      verdict: verdictTally(told),
      forged: verdictTally(forged),
      byCheck: Object.fromEntries(CHECKS.map((name) => [name, checkTally(name)])) as Tally['byCheck'],
      largest,
      quantiles: Object.fromEntries(MEASURES.map((name) => [name, quantilesOf(seen.get(name)!)])) as Tally['quantiles'],
    }),
  };
}

function quantilesOf(values: readonly number[]): Quantiles {
  const sorted = Float64Array.from(values).sort();
  return QUANTILES.map((q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0);
}
