// What a recipe may hold back of stale rollouts. Source: spec/grpo.md "Staleness" (brakes).

import { isDrifted } from './drifted.ts';
import { type SampledLogprobs, steadyTokens } from './second-moment.ts';

/** Settings of a recipe; what is not set brakes nothing. */
export interface Brakes {
  /** nats a token */
  readonly maxDrift?: number;
  /** nats² */
  readonly maxSecondMoment?: number;
}

/** A rollout, and which of its tokens count; default: all. */
type Braked = SampledLogprobs & { readonly advantage: number; readonly mask?: Uint8Array };

/** Leaves out what the policy has left behind: rollouts that were bad, and single tokens far from who sampled them. */
export function braked<T extends Braked>(batch: readonly T[], { maxDrift, maxSecondMoment }: Brakes): readonly T[] {
  const kept = batch.filter((each) => maxDrift === undefined || !isDrifted(each, each.logprobsOld, maxDrift));
  if (maxSecondMoment === undefined) return kept;
  const masks = steadyTokens(kept, maxSecondMoment);
  return kept.map((each, i) => ({ ...each, mask: masks[i]! }));
}
