// What a calibration says, as data: what the Markdown and the chart are made of, and the JSON beside them.

import type { CalibrationResult } from './calibrate.ts';
import type { CheckName } from './tally.ts';

/** What the figures are figures of. */
export interface CalibrationSubject {
  readonly recipe: string;
  readonly policyRoot: string;
  readonly parameters: number;
  readonly groupSize: number;
  readonly maxNewTokens: number;
  readonly probationGroups: number;
  readonly settings: readonly string[];
  /** processor, runtime versions */
  readonly machine: Readonly<Record<string, string | number>>;
  /** what stands for the policy one step before */
  readonly previous: string;
  readonly command: string;
}

export interface CalibrationReport {
  readonly version: 1;
  readonly subject: CalibrationSubject;
  readonly result: CalibrationResult;
}

export const CHECK_TITLES: Readonly<Record<CheckName, string>> = {
  'stage-one': 'stage 1 (exact checks, no model)',
  logitMove: 'draws',
  largestDrift: 'log-probs, largest',
  meanDrift: 'log-probs, mean',
  exponentMismatches: 'TOPLOC, exponents',
  mantissaErrorMean: 'TOPLOC, mantissa mean',
  mantissaErrorMedian: 'TOPLOC, mantissa median',
};

/** Groups that a check rejected and no other did, over all lies. */
export function caughtAlone({ lies }: CalibrationResult, name: CheckName): number {
  return lies.reduce((sum, { tally }) => sum + tally.byCheck[name].alone, 0);
}

/** Groups that a check rejected, over all lies. */
export function caught({ lies }: CalibrationResult, name: CheckName): number {
  return lies.reduce((sum, { tally }) => sum + tally.byCheck[name].groups.count, 0);
}

/** JSON has no infinity: an unbounded distance becomes null. */
export function reportJson(report: CalibrationReport): string {
  const finite = (_key: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isFinite(value) ? null : value;
  return `${JSON.stringify(report, finite, 1)}\n`;
}
