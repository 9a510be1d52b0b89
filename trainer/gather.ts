// Waiting for a batch: until enough useful groups are here, or the recipe's patience has ended and there is at least one.
// Source: spec/grpo.md "Staleness" (lag is judged when the batch is formed), "Exactly once" (order); spec/wire.md (maxStepWaitMs).
// Meanwhile the step before becomes durable and is published; no batch comes out until it is, and patience begins then.
// With `deterministic` a batch is full, and chosen when every group announced by then is settled: among those, neither patience
// nor the order of arrival has a say. Which have been announced by then, and what a verifier or a peer was too slow for, is
// still up to the swarm. The batch is not begun before the step before is published, so that its speed has no say either.
// Invariants: what comes out was taken from the pool, is within maxLag of the state's policy step, and has recomputed log-probs;
// no group ends for being too old for a step that a crash could still undo.

import type { Clock, Logger } from '../node/protocol/ports.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';
import { chooseBatch, countByPeer } from './batch.ts';
import type { Pool } from './pool.ts';
import type { Publication } from './publication.ts';
import type { LearnGroup, Replays } from './replay.ts';
import type { RunState } from './run-state.ts';

/** How often a waiting trainer looks for quarantines and for its own patience. */
const TICK_MS = 500;
/** A pool that cannot fill the batch for so long gets a raised admission. */
const HUNGRY_MS = 3_000;
const NOTHING_TO_LEARN =
  'all peers have used their slots of this step and no group is left to learn from: raise staleness.maxSlotsPerStep, ' +
  'or give the recipe tasks that the model solves sometimes';

export interface GatherComponents {
  readonly pool: Pool;
  readonly replays: Replays;
  readonly publication: Pick<Publication, 'askForMore'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A batch and what it took to get it once the step before was done. */
export interface Gathered {
  readonly groups: readonly LearnGroup[];
  readonly waitingMs: number;
  readonly replayingMs: number;
}

/** What is gathered for. */
export interface GatherInit {
  readonly recipe: ResolvedRecipe['recipe'];
  readonly state: RunState;
  /** resolves when the step before is durable and published */
  readonly settling: Promise<void>;
  /** default false */
  readonly deterministic?: boolean | undefined;
}

/** @returns null when the signal ended the wait. @throws what the step before failed of */
export async function gatherBatch(
  components: GatherComponents,
  init: GatherInit,
  signal: AbortSignal,
): Promise<Gathered | null> {
  const failed = new AbortController();
  init.settling.catch(() => failed.abort());
  if (init.deterministic) await init.settling;
  try {
    return await gather(components, init, AbortSignal.any([signal, failed.signal]));
  } finally {
    // What it failed of comes before what that cut short here.
    await init.settling;
  }
}

async function gather(components: GatherComponents, init: GatherInit, signal: AbortSignal): Promise<Gathered | null> {
  const { pool, replays, publication, clock, logger } = components;
  const { recipe, state, deterministic = false } = init;
  const { promptsPerStep } = recipe.grpo;
  const { maxLagSteps, maxStepWaitMs } = recipe.staleness;
  /** when this step has the trainer for itself: the one before is durable and published */
  let startMs = Number.POSITIVE_INFINITY;
  let askedMs = startMs;
  void init.settling.then(
    () => {
      startMs = clock.nowMs();
      askedMs = startMs;
    },
    () => undefined,
  );
  let replayingMs = 0;
  const batch: LearnGroup[] = [];
  await replays.forgetBefore(state.policyStep - maxLagSteps);

  while (!signal.aborted) {
    await pool.expire(state.policyStep, Number.isFinite(startMs));
    const isLate = !deterministic && clock.nowMs() - startMs >= maxStepWaitMs;
    const ready = pool.ready();
    const isFull = batch.length + ready.length >= promptsPerStep;
    const isEnough = deterministic ? isFull && pool.unsettled() === 0 : isFull || (isLate && ready.length > 0);
    if (isEnough) {
      const chosen = chooseBatch(ready, {
        count: promptsPerStep - batch.length,
        batchSize: promptsPerStep,
        policyRoot: state.policyRoot,
        maxKeyShare: recipe.maxKeyShare,
        taken: countByPeer(batch),
      });
      pool.take(chosen);
      const replayMs = clock.nowMs();
      const { groups, refused } = await replays.recompute(chosen, signal);
      replayingMs += Math.max(0, clock.nowMs() - Math.max(replayMs, startMs));
      for (const { groupId, state: end, reason } of refused) {
        pool.finish(groupId, end, reason);
        logger.warn({ groupId, reason }, 'a group did not stand up to the replay; it is not trained on');
      }
      batch.push(...groups);
    }
    if (batch.length >= promptsPerStep || (isLate && batch.length > 0)) {
      await init.settling;
      return { groups: batch, waitingMs: clock.nowMs() - startMs - replayingMs, replayingMs };
    }
    if (isEnough) continue;
    // What waits may never be judged or come: after the recipe's patience it is not counted on.
    const patienceMs = pool.waiting() < promptsPerStep ? HUNGRY_MS : maxStepWaitMs;
    if (clock.nowMs() - askedMs >= patienceMs) {
      if (deterministic && isFull) logger.warn({ unsettled: pool.unsettled() }, 'waiting for verdicts and bodies');
      else await publication.askForMore(state, isLate);
      askedMs = clock.nowMs();
      if (areSlotsUsed(pool, recipe, state)) logger.warn({ policyStep: state.policyStep }, NOTHING_TO_LEARN);
    }
    await pool.wait(TICK_MS, signal);
  }
  return null;
}

/** Nobody may bring more for this policy: who waits for it waits for ever, unless a new peer joins. */
function areSlotsUsed(pool: Pool, { staleness }: ResolvedRecipe['recipe'], { policyStep }: RunState): boolean {
  const peers = pool.activePeers(policyStep);
  return peers > 0 && pool.waiting() === 0 && pool.announcedAt(policyStep) >= peers * staleness.maxSlotsPerStep;
}
