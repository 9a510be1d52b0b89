// Limits from what honest runs measured: the largest of them with a margin, rounded up to 1, 2 or 5 times a power of ten.
// Our own. Limits have two sides, so an honest run has to be 2 · MARGIN times as far off as any seen to be rejected.

import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { LIMIT_OF, MEASURES, type MeasureName, type Measures } from '../checks/measure.ts';

/** How often the largest honest distance of the calibration a limit holds: other processors add up in another order. Our own. */
export const MARGIN = 8;

/**
 * No limit is less. Log-probs are float32, with 1e-7 of rounding near 1; one value of 128 whose place among the largest two
 * machines see unlike costs an exponent, or half of the mantissa's 128 steps: a mean of 0.5.
 */
const FLOOR: Readonly<Record<MeasureName, number>> = {
  logitMove: 1e-5,
  largestDrift: 1e-5,
  meanDrift: 2e-6,
  exponentMismatches: 2,
  mantissaErrorMean: 1,
  mantissaErrorMedian: 1,
};

/** One limit: what the recipe had, what was found, and from what. */
export interface FoundLimit {
  readonly measure: MeasureName;
  readonly limit: keyof VerificationLimits;
  readonly was: number;
  readonly found: number;
  readonly honestLargest: number;
  readonly why: string;
}

/** The least number of one digit that is not below `value`. @param value > 0 */
export function roundedUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return Number((Math.ceil((value / power) * (1 - 1e-12)) * power).toPrecision(1));
}

/**
 * @param largest of the honest runs that limits are made of
 * @param was the recipe's limits
 */
export function findLimits(largest: Measures, was: VerificationLimits): readonly FoundLimit[] {
  return MEASURES.map((measure) => {
    // Draws seldom fall where two machines differ; log-probs tell at every token how far logits moved.
    const isDraws = measure === 'logitMove';
    const honestLargest = isDraws ? Math.max(largest.logitMove, largest.largestDrift) : largest[measure];
    const due = MARGIN * honestLargest;
    const found = due > FLOOR[measure] ? roundedUp(due) : FLOOR[measure];
    const of = isDraws ? 'the largest honest log-prob drift, which bounds how far a logit moved' : 'the largest honest';
    const why = due > FLOOR[measure] ? `${MARGIN} × ${of}, rounded up` : 'honest runs stay below the least limit';
    return { measure, limit: LIMIT_OF[measure], was: was[LIMIT_OF[measure]], found, honestLargest, why };
  });
}

/** As verdicts carry them. */
export function limitsFound(found: readonly FoundLimit[]): VerificationLimits {
  return Object.fromEntries(found.map(({ limit, found: value }) => [limit, value])) as unknown as VerificationLimits;
}
