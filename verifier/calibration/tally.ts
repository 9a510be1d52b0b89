// Counts of judged groups: what was caught, by which check, and by which alone. Everything the report says of them.

import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { MEASURES, type MeasureName, type Measures, NO_DISTANCE, rejects, worstOf } from '../checks/measure.ts';
import { type Share, share } from './clopper-pearson.ts';
import { createHistogram, type HistogramState } from './histogram.ts';
import { type JudgedGroup, verdictOf } from './judge.ts';

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

/** Counts so far, as plain data: `createTally` goes on from it. */
export interface TallyState {
  readonly size: Readonly<Record<keyof Size, number>>;
  readonly told: Readonly<VerdictCounts>;
  readonly forged: Readonly<VerdictCounts>;
  readonly checks: Readonly<Record<CheckName, Readonly<Counts>>>;
  /** null is +∞, which JSON does not have */
  readonly largest: Readonly<Record<MeasureName, number | null>>;
  readonly seen: Readonly<Record<MeasureName, HistogramState>>;
}

export interface Tallying {
  add(group: JudgedGroup): void;
  result(): Tally;
  state(): TallyState;
}

const QUANTILES = [0.01, 0.25, 0.5, 0.75, 0.99] as const;

interface Size {
  groups: number;
  sequences: number;
  tokens: number;
  softMisses: number;
}

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

const NONE: VerdictCounts = { sequences: 0, groups: 0, borderline: 0 };

function byName<N extends string, T>(names: readonly N[], of: (name: N) => T): Record<N, T> {
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Record<N, T>;
}

function countVerdicts(into: VerdictCounts, group: JudgedGroup, claims: 'told' | 'forged'): void {
  const verdict = verdictOf(group, claims);
  if (verdict === 'reject') into.groups++;
  if (verdict === 'ignore') into.borderline++;
  for (const { answer, forged } of group.sequences) {
    if ((claims === 'told' ? answer : forged) === 'reject') into.sequences++;
  }
}

function countChecks(
  into: Record<CheckName, Counts>,
  { stageOne, sequences }: JudgedGroup,
  limits: VerificationLimits,
): void {
  const rejecting = new Set<CheckName>(stageOne === 'reject' ? ['stage-one'] : []);
  for (const name of MEASURES) {
    const caught = sequences.filter(({ measures }) => rejects(measures, name, limits)).length;
    into[name].sequences += caught;
    if (caught > 0) rejecting.add(name);
  }
  for (const name of rejecting) {
    into[name].groups++;
    if (rejecting.size === 1) into[name].alone++;
  }
}

/**
 * Counts against `limits`. Groups without a lied sequence are as the caller wants them: honest ones, or left out.
 * @param from counts to go on from, made under the same limits
 */
export function createTally(limits: VerificationLimits, from?: TallyState): Tallying {
  const size: Size = { ...(from?.size ?? { groups: 0, sequences: 0, tokens: 0, softMisses: 0 }) };
  const told: VerdictCounts = { ...(from?.told ?? NONE) };
  const forged: VerdictCounts = { ...(from?.forged ?? NONE) };
  const checks = byName<CheckName, Counts>(CHECKS, (name) => ({
    ...(from?.checks[name] ?? { sequences: 0, groups: 0, alone: 0 }),
  }));
  const seen = byName(MEASURES, (name) => createHistogram(from?.seen[name]));
  let largest: Measures =
    from === undefined ? NO_DISTANCE : byName(MEASURES, (name) => from.largest[name] ?? Number.POSITIVE_INFINITY);

  const verdictTally = ({ sequences, groups, borderline }: VerdictCounts): VerdictTally => ({
    sequences: share(sequences, size.sequences),
    groups: share(groups, size.groups),
    borderline,
  });
  const checkTally = (name: CheckName): CheckTally => {
    const { sequences, groups, alone } = checks[name];
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
        for (const name of MEASURES) seen[name].add(measures[name]);
      }
      countVerdicts(told, counted, 'told');
      countVerdicts(forged, counted, 'forged');
      countChecks(checks, counted, limits);
    },
    result: () => ({
      ...size,
      verdict: verdictTally(told),
      forged: verdictTally(forged),
      byCheck: byName(CHECKS, checkTally),
      largest,
      quantiles: byName(MEASURES, (name) => QUANTILES.map((q) => seen[name].quantile(q))),
    }),
    state: () =>
      structuredClone({
        ...{ size, told, forged, checks },
        largest: byName(MEASURES, (name) => (Number.isFinite(largest[name]) ? largest[name] : null)),
        seen: byName(MEASURES, (name) => seen[name].state()),
      }),
  };
}
