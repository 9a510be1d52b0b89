// Whether nodes bring enough for the trainer, and fresh enough: looked at once, over the first steps.
// Source: spec/grpo.md "Staleness" (provisioning check): Σ node rate × acceptance ≥ B / T, and S large enough for the delay.
// Both are measured instead of asked for: before anything has run nobody knows a rate.

import type { StepMetrics } from './metrics.ts';

/** Steps looked at, after the first, which has the starting costs of a run. */
const STEPS = 5;
/** A trainer that waits less than this share of its time has enough. Our own. */
const WAITING_SHARE = 0.25;
/** Groups that came too late, of those that ended. Our own. */
const STALE_SHARE = 0.1;

export interface Provision {
  /** useful groups a second that nodes brought */
  readonly brought: number;
  /** B / T: useful groups a second that the trainer could learn from */
  readonly wanted: number;
  readonly isEnough: boolean;
  /** of the groups that ended */
  readonly staleShare: number;
  readonly isFresh: boolean;
}

export interface Provisioning {
  /** What the first steps came to, once; null before and after. */
  look(step: StepMetrics): Provision | null;
}

/** @param init `promptsPerStep` of the recipe */
export function createProvisioning(init: { readonly promptsPerStep: number }): Provisioning {
  const steps: StepMetrics[] = [];
  return {
    look(step) {
      if (steps.length > STEPS) return null;
      steps.push(step);
      return steps.length > STEPS ? provisionOf(steps.slice(1), init.promptsPerStep) : null;
    },
  };
}

function provisionOf(steps: readonly StepMetrics[], promptsPerStep: number): Provision {
  const sum = (value: (step: StepMetrics) => number): number => steps.reduce((total, step) => total + value(step), 0);
  const seconds = sum((step) => Object.values(step.seconds).reduce((a, b) => a + b, 0));
  const waiting = sum((step) => step.seconds.waiting);
  const { trained, rejected, stale, dropped } = steps.at(-1)!.counts;
  const staleShare = stale / Math.max(1, trained + rejected + stale + dropped);
  return {
    brought: sum(({ groups }) => groups) / Math.max(1e-3, seconds),
    wanted: (steps.length * promptsPerStep) / Math.max(1e-3, seconds - waiting),
    isEnough: waiting <= WAITING_SHARE * seconds,
    staleShare,
    isFresh: staleShare <= STALE_SHARE,
  };
}
