// Which groups of a batch make a step that is not finite. Source: spec/rollouts.md, last paragraph: such a step is undone,
// and its groups are looked into one by one.
// Invariant: the engine's weights are afterwards what they were before.

import { isSwarmError } from '../node/protocol/errors.ts';
import type { TrainingEngine, TrainSequence } from './engine/engine.ts';

/** A group's part of the batch. */
export interface SuspectGroup {
  readonly groupId: string;
  readonly sequences: readonly TrainSequence[];
}

/**
 * Rehearses a step on each group alone.
 * @param engine stands where it stood before the step that failed
 * @returns ids of those whose own step is not finite; of all when each alone is well
 */
export async function offendersOf(
  engine: Pick<TrainingEngine, 'rehearse'>,
  groups: readonly SuspectGroup[],
): Promise<ReadonlySet<string>> {
  const offenders = new Set<string>();
  for (const { groupId, sequences } of groups) {
    if (sequences.length === 0) continue;
    try {
      await engine.rehearse(sequences);
    } catch (error) {
      if (!isSwarmError(error, 'NON_FINITE_STEP')) throw error;
      offenders.add(groupId);
    }
  }
  return offenders.size > 0 ? offenders : new Set(groups.map(({ groupId }) => groupId));
}
