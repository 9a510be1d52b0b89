// The whole loss of a micro-batch: −Σ weight · ( objective − klCoef·k3 + entropyCoef·H ).
// Source: spec/grpo.md §Losses; k3 is Schulman's estimator (joschu.net/blog/kl-approx.html), on `lp`, so it has a gradient.
// Invariant: terms with coefficient 0 leave no node behind, so no reference model is needed for them.

import { add, cast, exp, mul, neg, reduceSum, sub } from '../../node/model/graph/ops.ts';
import type { Value } from '../../node/model/graph/value.ts';
import type { LossInputs, LossSettings } from './loss.ts';
import { LOSSES, type LossName, lossSettings } from './losses.ts';

export interface PolicyLossSettings {
  readonly loss: LossName;
  readonly lossSettings: LossSettings;
  /** weight of the k3 estimate of KL(π‖reference); 0: no reference is read */
  readonly klCoef: number;
  /** weight of the entropy bonus, in nats */
  readonly entropyCoef: number;
}

export interface PolicyLossInputs extends LossInputs {
  /** [batch, tokens], `tokenWeights` on completion tokens, 0 elsewhere */
  readonly weights: Value;
  /** entropy of the distribution at each token, nats; read if entropyCoef ≠ 0 */
  readonly entropy: Value | null;
  /** log-probs under a frozen reference; read if klCoef ≠ 0 */
  readonly logprobsReference: Value | null;
}

/** Scalars; shares are weighted as the loss is, so that those of micro-batches add up. */
export interface PolicyLossOutputs {
  readonly loss: Value;
  readonly clippedLow: Value | null;
  readonly clippedHigh: Value | null;
}

/** k3 = exp(lpRef − lp) − (lpRef − lp) − 1 ≥ 0. */
function k3(logprobs: Value, reference: Value): Value {
  const log = sub(reference, logprobs);
  return sub(sub(exp(log), log), 1);
}

/**
 * Appends a loss and what is logged of it.
 * @param inputs log-probs masked: 0 outside of completion tokens
 */
export function buildPolicyLoss(inputs: PolicyLossInputs, settings: PolicyLossSettings): PolicyLossOutputs {
  const rule = LOSSES[settings.loss];
  const { objective, clippedLow, clippedHigh } = rule.build(inputs, lossSettings(settings.loss, settings.lossSettings));
  let total = objective;
  if (settings.klCoef !== 0) total = sub(total, mul(k3(inputs.logprobs, inputs.logprobsReference!), settings.klCoef));
  if (settings.entropyCoef !== 0) total = add(total, mul(inputs.entropy!, settings.entropyCoef));
  const share = (where: Value | null): Value | null => where && reduceSum(mul(cast(where, 'float32'), inputs.weights));
  return {
    loss: neg(reduceSum(mul(total, inputs.weights))),
    clippedLow: share(clippedLow),
    clippedHigh: share(clippedHigh),
  };
}
