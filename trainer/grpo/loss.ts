// What a policy-gradient loss is: a function that appends its per-token objective to a graph.
// Source: spec/grpo.md §Losses. Values are [batch, tokens] over completion tokens; outside of the mask every log-prob is 0.
// Invariant: a rule reads its inputs and settings only, so the same formula runs under every provider and in every test.

import type { Value } from '../../node/model/graph/value.ts';

/** What an objective may read. */
export interface LossInputs {
  /** log-probs under the weights being optimised: the one value that gradients flow through */
  readonly logprobs: Value;
  /** under the policy that sampled */
  readonly logprobsWorker: Value;
  /** under the weights before this batch's first optimizer step */
  readonly logprobsOld: Value;
  /** [batch, 1] */
  readonly advantages: Value;
  /** float32, 1 on completion tokens, else 0 */
  readonly mask: Value;
}

/** What is to be maximised at each token, and where the rule held a ratio back. */
export interface TokenObjective {
  readonly objective: Value;
  /** bool: the ratio was too low to count in full; null where the rule has no such side */
  readonly clippedLow: Value | null;
  /** bool: the ratio was too high */
  readonly clippedHigh: Value | null;
}

/** Settings of a rule by name; every rule knows its own names and their defaults. */
export type LossSettings = Readonly<Record<string, number>>;

/** One row of the table of losses. */
export interface LossRule {
  readonly defaults: LossSettings;
  /** whether `logprobsOld` is read: if so the trainer recomputes it before a batch's first step */
  readonly readsOld: boolean;
  build(inputs: LossInputs, settings: LossSettings): TokenObjective;
}
