// What a run carries from step to step, and its form in a checkpoint. Source: spec/grpo.md "Exactly once".
// Invariant: a state read back equals the one that was written; one that is not ours is refused, never guessed at.

import { SwarmError } from '../node/protocol/errors.ts';
import type { CheckpointMeta, JsonValue } from './checkpoint.ts';
import { type ConsumedRecord, KEEP_ROW_STEPS } from './ledger.ts';

/** A group that was trained on. */
export interface ConsumedGroup {
  /** hex */
  readonly groupId: string;
  readonly policyStep: number;
  readonly trainStep: number;
}

export interface RunState {
  /** batches trained on */
  readonly trainStep: number;
  /** publications, the starting model's not counted */
  readonly policyStep: number;
  /** hex root of the newest policy that is, or is about to be, published */
  readonly policyRoot: string;
  /** hex root of the one before; null at step 0 */
  readonly parentRoot: string | null;
  /** groups of the last batch, in order */
  readonly lastConsumed: readonly string[];
  /** as far back as a group could come again */
  readonly consumed: readonly ConsumedGroup[];
}

/** The state after a batch was trained on. @param root hex root of the policy that came of it */
export function nextState(
  before: RunState,
  groups: readonly Pick<ConsumedGroup, 'groupId' | 'policyStep'>[],
  root: string,
  staleness: { readonly publishEvery: number; readonly maxLagSteps: number },
): RunState {
  const trainStep = before.trainStep + 1;
  const isDue = trainStep % staleness.publishEvery === 0 && root !== before.policyRoot;
  const policy = isDue
    ? { policyStep: before.policyStep + 1, policyRoot: root, parentRoot: before.policyRoot }
    : { policyStep: before.policyStep, policyRoot: before.policyRoot, parentRoot: before.parentRoot };
  const oldest = policy.policyStep - staleness.maxLagSteps - KEEP_ROW_STEPS;
  const now = groups.map(({ groupId, policyStep }) => ({ groupId, policyStep, trainStep }));
  return {
    ...policy,
    trainStep,
    lastConsumed: groups.map(({ groupId }) => groupId),
    consumed: [...before.consumed.filter(({ policyStep }) => policyStep >= oldest), ...now],
  };
}

const corrupt = (what: string): SwarmError =>
  new SwarmError('CHECKPOINT_CORRUPT', `the checkpoint is not of this run: ${what}. Use another --data-dir.`, { what });

/** A state as a checkpoint keeps it; `stateOf` reads it back. */
export function metaOf(state: RunState, recipeId: string): CheckpointMeta {
  const consumed = state.consumed.map(({ groupId, policyStep, trainStep }) => [groupId, policyStep, trainStep]);
  const { policyStep, policyRoot, parentRoot } = state;
  return {
    step: state.trainStep,
    recipeId,
    consumed: state.lastConsumed,
    extra: { policyStep, policyRoot, parentRoot, consumed },
  };
}

function isConsumed(entry: JsonValue): entry is readonly [string, number, number] {
  return (
    Array.isArray(entry) && typeof entry[0] === 'string' && Number.isInteger(entry[1]) && Number.isInteger(entry[2])
  );
}

/** @throws {SwarmError} CHECKPOINT_CORRUPT when it is of another recipe, or not a run's */
export function stateOf(meta: CheckpointMeta, recipeId: string): RunState {
  if (meta.recipeId !== recipeId) throw corrupt(`it trains recipe ${meta.recipeId.slice(0, 16)}`);
  const extra = meta.extra as { readonly [key: string]: JsonValue | undefined } | null;
  const { policyStep, policyRoot, parentRoot, consumed } = extra ?? {};
  if (typeof policyStep !== 'number' || typeof policyRoot !== 'string' || parentRoot === undefined) {
    throw corrupt('it does not say which policy it belongs to');
  }
  if (!Array.isArray(consumed) || !consumed.every(isConsumed)) throw corrupt('its list of consumed groups is broken');
  return {
    trainStep: meta.step,
    policyStep,
    policyRoot,
    parentRoot: typeof parentRoot === 'string' ? parentRoot : null,
    lastConsumed: meta.consumed,
    consumed: consumed.map(([groupId, step, trainStep]) => ({ groupId, policyStep: step, trainStep })),
  };
}

/** What the ledger is brought up to. */
export function consumedRecord(state: RunState): ConsumedRecord {
  return {
    step: state.trainStep,
    consumed: new Map(state.consumed.map(({ groupId, trainStep }) => [groupId, trainStep])),
  };
}
