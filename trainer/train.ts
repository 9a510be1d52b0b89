// GRPO with stale rollouts, on one page. Source: spec/grpo.md; the model for reading it is nanochat's chat_rl.py.
//
// Left out of GRPO: the division by the standard deviation (Dr.GRPO) unless the recipe says `std`, and the KL term unless it
// says klCoef. Added to it: rollouts are some policy steps old and come from strangers, so their log-probs are recomputed
// under the policy that made them, and that pass shows whether they really came from it.
//
// Invariants: a group is trained on once; weights, moments and the list of what was consumed become durable in one rename
// (the checkpoint, after every batch), nothing is published before it, and whoever restarts goes on from there. That takes
// seconds with a large model: the next batch is gathered meanwhile, and learned from when it is done.

import { toHex } from '../node/protocol/bytes.ts';
import { isSwarmError } from '../node/protocol/errors.ts';
import { MILLION } from '../recipes/rewards/reward.ts';
import type { PolicySnapshot, TrainSequence, UpdateMetrics } from './engine/engine.ts';
import { type Gathered, gatherBatch } from './gather.ts';
import { advantages } from './grpo/advantages.ts';
import { braked } from './grpo/brakes.ts';
import { LOSSES } from './grpo/losses.ts';
import type { Ledger } from './ledger.ts';
import { stepMetrics, stepSeconds, stopwatch } from './metrics.ts';
import { offendersOf } from './non-finite.ts';
import type { Pool } from './pool.ts';
import type { Publication } from './publication.ts';
import type { LearnGroup, Replays } from './replay.ts';
import { metaOf, nextState, type RunState } from './run-state.ts';
import type { TrainerComponents, TrainerInit } from './trainer-ports.ts';

/** What a step works with. */
export interface Run {
  readonly components: TrainerComponents;
  readonly init: TrainerInit;
  readonly ledger: Ledger;
  readonly pool: Pool;
  readonly replays: Replays;
  readonly publication: Publication;
  state: RunState;
  /** resolves when the last step is durable and published */
  settling: Promise<void>;
}

/** One step of training, up to where only disk and network have to follow. Nothing, when the signal came first. */
export async function trainStep(run: Run, signal: AbortSignal): Promise<void> {
  const { components, init, state: before, settling } = run;
  const { recipe } = init.recipe;
  const time = stopwatch(components.clock.nowMs);

  // Wait for a batch: accepted groups within maxLag, in an order that nobody can choose, log-probs recomputed under the
  // policy that sampled them.
  const gathered = await gatherBatch({ ...components, ...run }, { ...init, recipe, state: before, settling }, signal);
  if (gathered === null) return;
  const { groups } = gathered;
  time();

  // Each rollout teaches by how much better it did than the others of its prompt.
  const sequences = groups.flatMap((group) => learnable(group, recipe.grpo.advantages));

  // A few optimizer steps on them. A step that is not finite did not happen; the groups to blame are dropped.
  const updates = await update(run, sequences);
  if (updates === null) return putAside(run, groups);

  // The policy is these weights in bf16.
  const policy = await components.engine.policy();
  const updatingMs = time();
  run.state = nextState(before, groups, toHex(policy.policyRoot), recipe.staleness);
  run.settling = settle(run, { before, gathered, sequences: sequences.length, updates, updatingMs, policy });
  run.settling.catch(() => undefined); // whoever gathers the next batch, or ends the run, hears of it
}

/** A step that was learned, before it is durable. */
interface Learned {
  readonly before: RunState;
  readonly gathered: Gathered;
  readonly sequences: number;
  readonly updates: readonly UpdateMetrics[];
  readonly updatingMs: number;
  readonly policy: PolicySnapshot;
}

/** Makes a step durable, then publishes it. Weights do not change meanwhile. */
async function settle(run: Run, { before, gathered, policy, updatingMs, ...learned }: Learned): Promise<void> {
  const { components, init, pool, ledger, publication, state } = run;
  const time = stopwatch(components.clock.nowMs);

  // Weights, moments and what was consumed: whole on disk before anybody hears of them.
  const meta = metaOf(state, init.recipe.recipeIdHex);
  const checkpoint = await components.engine.saveCheckpoint(init.checkpointDir, meta);
  for (const { groupId } of gathered.groups) pool.finish(groupId, 'trained', null, state.trainStep);
  await ledger.flush();
  const checkpointingMs = time();

  // A step that changed no bit of the policy is not published.
  const isPublished = state.policyStep > before.policyStep;
  if (isPublished) await publication.publish(state, policy.safetensors, checkpoint);
  const seconds = stepSeconds({ ...gathered, updatingMs, checkpointingMs, publishingMs: time() });
  const metrics = stepMetrics({
    ...state,
    ...learned,
    isPublished,
    policyStepBefore: before.policyStep,
    groups: gathered.groups,
    arrivals: pool.takeArrivals(),
    seconds,
    counts: ledger.counts(),
  });
  await init.onStep?.(metrics);
}

/** A group's rollouts that have an advantage. */
function learnable(group: LearnGroup, rule: Parameters<typeof advantages>[0]): TrainSequence[] {
  const { announcement, body, logprobsWorker } = group;
  const worth = advantages(
    rule,
    announcement.rewards.map((reward) => reward / MILLION),
  );
  return body.sequences
    .map(({ tokens }, i) => ({ prompt: body.prompt, tokens, advantage: worth[i]!, logprobsWorker: logprobsWorker[i]! }))
    .filter(({ advantage }) => advantage !== 0);
}

/** Optimizer steps on about equal parts of the batch. @returns null when one was not finite */
async function update(
  { components, init, state }: Run,
  batch: readonly TrainSequence[],
): Promise<UpdateMetrics[] | null> {
  const { engine, logger } = components;
  const { sequencesPerUpdate, maxUpdatesPerStep, loss, ...brakes } = init.recipe.recipe.grpo;
  const isSplit = batch.length > sequencesPerUpdate && maxUpdatesPerStep > 1;
  const isBraked = brakes.maxDrift !== undefined || brakes.maxSecondMoment !== undefined;
  const needsOld = (LOSSES[loss].readsOld && isSplit) || isBraked;
  const old = needsOld ? await engine.logprobs(batch) : [];
  const kept = needsOld
    ? braked(
        batch.map((each, i) => ({ ...each, logprobsOld: old[i]! })),
        brakes,
      )
    : batch;
  const metrics: UpdateMetrics[] = [];
  try {
    for (const part of inParts(kept, sequencesPerUpdate, maxUpdatesPerStep)) {
      metrics.push(await engine.update(part, state.trainStep));
    }
    return metrics;
  } catch (error) {
    if (!isSwarmError(error, 'NON_FINITE_STEP')) throw error;
    logger.error({ trainStep: state.trainStep, ...error.detail }, 'a step was not finite and is undone');
    if (metrics.length > 0) await engine.restore(init.checkpointDir);
    return null;
  }
}

/** Cuts a batch into at most `most` parts of at most `size`, as equal as can be; what does not fit is left out. */
export function inParts<T>(batch: readonly T[], size: number, most: number): readonly (readonly T[])[] {
  const count = Math.min(most, Math.ceil(batch.length / size));
  const used = Math.min(batch.length, count * size);
  return Array.from({ length: count }, (_, i) =>
    batch.slice(Math.floor((i * used) / count), Math.floor(((i + 1) * used) / count)),
  );
}

/** Of a batch that gave no finite step: drops the groups to blame, gives the others back to the pool. */
async function putAside({ components, init, pool, ledger }: Run, groups: readonly LearnGroup[]): Promise<void> {
  const { advantages: rule } = init.recipe.recipe.grpo;
  const suspects = groups.map((group) => ({ groupId: group.groupId, sequences: learnable(group, rule) }));
  const offenders = await offendersOf(components.engine, suspects);
  components.logger.error({ groups: groups.length, dropped: [...offenders] }, 'the groups to blame are dropped');
  for (const groupId of offenders) pool.finish(groupId, 'dropped', 'nonFinite');
  pool.giveBack(groups.filter(({ groupId }) => !offenders.has(groupId)));
  await ledger.flush();
}
