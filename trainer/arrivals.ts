// What arrived at a trainer's pool since it was last asked: groups accepted, useful or not.

import { MILLION } from '../recipes/rewards/reward.ts';

export interface Arrivals {
  readonly groups: number;
  readonly sequences: number;
  /** sum of rewards, 1 = a million millionths */
  readonly rewardSum: number;
  readonly tokens: number;
}

export interface ArrivalCount {
  /** one group's rewards in millionths, and the lengths of its sequences in tokens */
  note(rewards: readonly number[], lengths: readonly number[]): void;
  /** @returns what was noted, and begins anew */
  take(): Arrivals;
}

const NONE: Arrivals = { groups: 0, sequences: 0, rewardSum: 0, tokens: 0 };
const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** Nothing at first. */
export function countArrivals(): ArrivalCount {
  let arrived = NONE;
  return {
    note(rewards, lengths) {
      arrived = {
        groups: arrived.groups + 1,
        sequences: arrived.sequences + rewards.length,
        rewardSum: arrived.rewardSum + total(rewards) / MILLION,
        tokens: arrived.tokens + total(lengths),
      };
    },
    take() {
      const taken = arrived;
      arrived = NONE;
      return taken;
    },
  };
}
