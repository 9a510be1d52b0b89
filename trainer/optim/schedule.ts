// The learning rate of a step: a linear warm-up, then constant or a cosine to a floor.
// Source: spec/grpo.md §Settings of a known good run (25 warm-up steps); cosine for supervised warm-up.
// Invariant: a pure function of the step, so that a resumed run goes on exactly where it was.

export interface Schedule {
  /** The rate after warm-up. */
  readonly learningRate: number;
  /** Steps over which the rate rises linearly; step 0 already takes 1/warmUpSteps of it. 0 or 1: no warm-up. */
  readonly warmUpSteps: number;
  /** If given, the rate falls along a half cosine from the end of warm-up to `floor`·learningRate at this step. */
  readonly decaySteps?: number;
  /** Share of the rate that is left at the end of the decay; default 0. */
  readonly floor?: number;
}

/**
 * Learning rate of a step.
 * @param step 0-based number of the optimizer step
 */
export function learningRateAt(schedule: Schedule, step: number): number {
  const { learningRate, warmUpSteps, decaySteps, floor = 0 } = schedule;
  if (step + 1 < warmUpSteps) return (learningRate * (step + 1)) / warmUpSteps;
  if (decaySteps === undefined) return learningRate;
  const done = Math.min(1, Math.max(0, (step - warmUpSteps) / Math.max(1, decaySteps - warmUpSteps)));
  return learningRate * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * done)));
}
