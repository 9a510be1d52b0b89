// What a step says of itself: every figure that spec/grpo.md "Staleness" wants logged, in one flat record.

import { MILLION } from '../recipes/rewards/reward.ts';
import type { Arrivals } from './arrivals.ts';
import { lagOf } from './batch.ts';
import type { UpdateMetrics } from './engine/engine.ts';
import type { LedgerCounts } from './ledger.ts';
import type { LearnGroup } from './replay.ts';

/**
 * Where the time of a step went, in seconds, from the end of the step before to its own: nothing is counted twice. What was
 * gathered while the step before was written costs this one nothing. In no step: evaluation, batches that were put aside.
 */
export interface StepSeconds {
  readonly waiting: number;
  /** log-probs of the batch under the policies that sampled it */
  readonly replaying: number;
  /** optimizer steps, and the weights rounded to bf16 */
  readonly updating: number;
  readonly checkpointing: number;
  readonly publishing: number;
}

export interface StepMetrics {
  /** batches trained on so far, this one included */
  readonly trainStep: number;
  /** publications so far */
  readonly policyStep: number;
  /** hex root of the newest published policy */
  readonly policyRoot: string;
  readonly isPublished: boolean;
  readonly loss: number;
  /** over all groups accepted since the step before, useful or not; 1 = a full reward */
  readonly rewardMean: number;
  readonly completionTokensMean: number;
  /** over the groups of the batch alone */
  readonly batchRewardMean: number;
  readonly lagMean: number;
  readonly lagMax: number;
  readonly essShare: number;
  readonly meanLog2w: number;
  readonly klEstimate: number;
  readonly clippedLowShare: number;
  readonly clippedHighShare: number;
  /** tokens left out by the brake on their log²w */
  readonly maskedShare: number;
  /** nats a token */
  readonly entropy: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly updates: number;
  readonly groups: number;
  readonly sequences: number;
  /** left out by the brake on drifted rollouts, or because they did not fit the updates */
  readonly leftOut: number;
  /** completion tokens trained on */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly seconds: StepSeconds;
  readonly counts: LedgerCounts;
}

/** What the figures are made of. */
export interface StepFacts {
  readonly trainStep: number;
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly isPublished: boolean;
  /** publications when the batch was formed */
  readonly policyStepBefore: number;
  readonly groups: readonly LearnGroup[];
  /** that had an advantage */
  readonly sequences: number;
  readonly updates: readonly UpdateMetrics[];
  readonly arrivals: Arrivals;
  readonly seconds: StepSeconds;
  readonly counts: LedgerCounts;
}

/** A function that gives the milliseconds since it was last called. */
export function stopwatch(nowMs: () => number): () => number {
  let last = nowMs();
  return () => {
    const elapsed = nowMs() - last;
    last += elapsed;
    return elapsed;
  };
}

/** Milliseconds of each part of a step, as its figures tell them. */
export function stepSeconds(ms: Readonly<Record<`${keyof StepSeconds}Ms`, number>>): StepSeconds {
  return {
    waiting: ms.waitingMs / 1000,
    replaying: ms.replayingMs / 1000,
    updating: ms.updatingMs / 1000,
    checkpointing: ms.checkpointingMs / 1000,
    publishing: ms.publishingMs / 1000,
  };
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
const mean = (values: readonly number[]): number => (values.length === 0 ? 0 : total(values) / values.length);

/** Mean of an update's figure over tokens. */
function overTokens(updates: readonly UpdateMetrics[], figure: (update: UpdateMetrics) => number): number {
  const tokens = total(updates.map((update) => update.tokens));
  return tokens === 0 ? 0 : total(updates.map((update) => figure(update) * update.tokens)) / tokens;
}

/** The figures of one step. */
export function stepMetrics(facts: StepFacts): StepMetrics {
  const { groups, updates, arrivals, seconds } = facts;
  const batchRewards = groups.flatMap(({ announcement }) => announcement.rewards.map((reward) => reward / MILLION));
  const batchLengths = groups.flatMap(({ announcement }) => announcement.lengths);
  const lags = groups.map((group) => lagOf(group, facts.policyStepBefore));
  const tokens = total(updates.map((update) => update.tokens));
  const taken = total(updates.map((update) => update.sequences));
  const isSome = arrivals.sequences > 0;
  return {
    trainStep: facts.trainStep,
    policyStep: facts.policyStep,
    policyRoot: facts.policyRoot,
    isPublished: facts.isPublished,
    loss: overTokens(updates, (update) => update.loss),
    rewardMean: isSome ? arrivals.rewardSum / arrivals.sequences : mean(batchRewards),
    completionTokensMean: isSome ? arrivals.tokens / arrivals.sequences : mean(batchLengths),
    batchRewardMean: mean(batchRewards),
    lagMean: mean(lags),
    lagMax: Math.max(0, ...lags),
    essShare: overTokens(updates, (update) => update.essShare),
    meanLog2w: overTokens(updates, (update) => update.meanLog2w),
    klEstimate: overTokens(updates, (update) => update.klEstimate),
    clippedLowShare: overTokens(updates, (update) => update.clippedLowShare),
    clippedHighShare: overTokens(updates, (update) => update.clippedHighShare),
    maskedShare: overTokens(updates, (update) => update.maskedShare),
    entropy: overTokens(updates, (update) => update.entropy),
    gradientNorm: mean(updates.map((update) => update.gradientNorm)),
    learningRate: updates.at(-1)?.learningRate ?? 0,
    updates: updates.length,
    groups: groups.length,
    sequences: taken,
    leftOut: facts.sequences - taken,
    tokens,
    tokensPerSecond: tokens / Math.max(1e-3, total(Object.values(seconds))),
    seconds,
    counts: facts.counts,
  };
}
