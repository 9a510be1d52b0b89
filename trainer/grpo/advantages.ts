// Group-relative advantages: how much better one rollout did than the others of its prompt.
// Source: spec/grpo.md §Advantages (Dr.GRPO arXiv 2503.20783, GRPO arXiv 2402.03300, RLOO arXiv 2402.14740). All in f64.
// Invariant: every rule gives 0 for a group whose rewards are all equal, so such a group carries nothing.

import { SwarmError } from '../../node/protocol/errors.ts';

export type AdvantageName = 'mean' | 'std' | 'maxrl' | 'rloo';

/** Rewards of one group in, advantages of the same length out. */
export type AdvantageRule = (rewards: ArrayLike<number>) => Float64Array;

/** Added to the standard deviation so that nearly equal rewards do not explode (INTELLECT-2). */
const STD_EPSILON = 1e-6;

function meanOf(rewards: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < rewards.length; i++) sum += rewards[i]!;
  return sum / rewards.length;
}

/** R_i − mean(R). Dr.GRPO: no division by the standard deviation. */
function meanAdvantages(rewards: ArrayLike<number>): Float64Array {
  const mean = meanOf(rewards);
  return Float64Array.from(rewards, (reward) => reward - mean);
}

/** (R_i − mean) / (standard deviation with G − 1 in the denominator + 1e-6). GRPO as INTELLECT-2 ran it. */
function stdAdvantages(rewards: ArrayLike<number>): Float64Array {
  const centred = meanAdvantages(rewards);
  let squares = 0;
  for (const value of centred) squares += value * value;
  const scale = Math.sqrt(squares / (rewards.length - 1)) + STD_EPSILON;
  return centred.map((value) => value / scale);
}

/** (R_i − mean) / mean, 0 where the mean is not positive: rare successes weigh most. */
function maxrlAdvantages(rewards: ArrayLike<number>): Float64Array {
  const mean = meanOf(rewards);
  return meanAdvantages(rewards).map((value) => (mean > 0 ? value / mean : 0));
}

/** R_i − mean of the others: an unbiased leave-one-out baseline. */
function rlooAdvantages(rewards: ArrayLike<number>): Float64Array {
  const sum = meanOf(rewards) * rewards.length;
  return Float64Array.from(rewards, (reward) => reward - (sum - reward) / (rewards.length - 1));
}

/** Every rule by its name in a recipe. */
export const ADVANTAGES: Readonly<Record<AdvantageName, AdvantageRule>> = {
  mean: meanAdvantages,
  std: stdAdvantages,
  maxrl: maxrlAdvantages,
  rloo: rlooAdvantages,
};

/**
 * Whether the rewards of a group are all equal, so that nothing can be learned from it.
 * @param rewards one reward a rollout
 */
export function carriesNothing(rewards: ArrayLike<number>): boolean {
  for (let i = 1; i < rewards.length; i++) if (rewards[i] !== rewards[0]) return false;
  return true;
}

/**
 * Advantages of one group of rollouts of the same prompt.
 * @param name the rule (spec/grpo.md §Advantages)
 * @param rewards f64[G], G ≥ 2, finite
 * @returns f64[G]
 * @throws {SwarmError} GROUP_TOO_SMALL when G < 2
 */
export function advantages(name: AdvantageName, rewards: ArrayLike<number>): Float64Array {
  if (rewards.length < 2) {
    throw new SwarmError(
      'GROUP_TOO_SMALL',
      `an advantage compares rollouts: expected a group of 2 or more, got ${rewards.length}`,
      {
        groupSize: rewards.length,
      },
    );
  }
  if (carriesNothing(rewards)) return new Float64Array(rewards.length);
  return ADVANTAGES[name](rewards);
}
