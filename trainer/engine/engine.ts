// The training engine as the trainer sees it: weights that learn, behind a thread, so that the network never waits.
// Left out: which groups make a batch, what is published when (trainer/train.ts). Invariant: calls run one after the other.

import type { Placement } from '../../node/model/device.ts';
import type { Weights } from '../../node/model/weights.ts';
import type { CheckpointMeta } from '../checkpoint.ts';
import type { Normalisation } from '../grpo/normalise.ts';
import type { PolicyLossSettings } from '../grpo/policy-loss.ts';
import type { LoraSettings } from '../lora.ts';
import type { AdamwSettings } from '../optim/adamw.ts';
import type { Schedule } from '../optim/schedule.ts';

/** One sampled completion with what it taught. Log-probs run over `tokens`. */
export interface TrainSequence {
  /** at least one token */
  readonly prompt: Uint32Array;
  /** completion, end token included where there was one; at least one */
  readonly tokens: Uint32Array;
  readonly advantage: number;
  /** under the policy that sampled, temperature applied */
  readonly logprobsWorker: Float32Array;
  /** under the weights before this batch's first update; recomputed where a loss reads them and they are absent */
  readonly logprobsOld?: Float32Array;
  /** 1 where the token is learned from; all, where it is absent */
  readonly mask?: Uint8Array;
}

/** A sequence to imitate: `mask[t]` is 1 where `tokens[t]` is to be learned; `mask[0]` is not looked at. */
export interface SftSequence {
  readonly tokens: Uint32Array;
  readonly mask: Uint8Array;
}

/** Where the weights come from. */
export type EngineSource =
  | { readonly folder: string }
  /** taken over, not copied, where the engine is on the caller's thread */
  | { readonly configJson: string; readonly weights: Weights }
  /** random weights of a config, for a warm-up */
  | { readonly configJson: string; readonly seed: number };

export interface TrainingEngineInit extends Placement {
  readonly source: EngineSource;
  readonly objective: PolicyLossSettings & { readonly normalisation: Normalisation; readonly maxNewTokens: number };
  /** sampling temperature of the recipe: log-probs are of the sampling distribution */
  readonly temperature: number;
  /** ids from here on have no token; default: the model's whole vocabulary */
  readonly tokenCount?: number;
  readonly optimizer: AdamwSettings;
  readonly schedule: Schedule;
  /** largest global norm of a gradient */
  readonly clipNorm: number;
  /** multiply the learning rate by √(ESS share) (spec/grpo.md §Staleness); default false */
  readonly slowWhenStale?: boolean;
  /** most padded tokens in one micro-batch (a longer sequence gets one of its own); default in micro-batch.ts */
  readonly microBatchTokens?: number;
  /** memory of a micro-batch's logits at once, and as much again for their softmax; a larger vocabulary goes in chunks; default 256 MiB, with adapters 32 */
  readonly logitBytes?: number;
  /** compute each layer anew on the way back: a third more work, a fraction of the memory; default false */
  readonly recompute?: boolean;
  /** learn adapters beside the weights, which stay as they are; default: learn all weights */
  readonly lora?: LoraSettings;
}

/** What one optimizer step did. Means are over completion tokens, in nats. */
export interface UpdateMetrics {
  readonly loss: number;
  readonly entropy: number;
  /** before clipping */
  readonly gradientNorm: number;
  /** estimate of KL(μ‖π) */
  readonly klEstimate: number;
  readonly essShare: number;
  readonly meanLog2w: number;
  readonly clippedLowShare: number;
  readonly clippedHighShare: number;
  /** tokens that their masks leave out */
  readonly maskedShare: number;
  readonly learningRate: number;
  readonly tokens: number;
  readonly sequences: number;
  /** optimizer steps taken so far, this one included */
  readonly optimizerStep: number;
}

export interface SftMetrics {
  /** mean cross entropy of the masked tokens, nats */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly optimizerStep: number;
}

/** Weights rounded to bf16, ready to be published. */
export interface PolicySnapshot {
  readonly safetensors: Uint8Array;
  readonly policyRoot: Uint8Array;
  /** bits that differ from the snapshot before (from the weights opened, at first) */
  readonly changedBits: number;
  /** share of values with any changed bit, 0…1 */
  readonly changedShare: number;
}

export interface RestoredCheckpoint {
  readonly path: string;
  readonly meta: CheckpointMeta;
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

/** A model that learns. Only one call runs at a time; the others queue. */
export interface TrainingEngine {
  /** log-probs of the completions under the current weights, in the order given. @throws ENGINE_FAILED */
  logprobs(sequences: readonly Pick<TrainSequence, 'prompt' | 'tokens'>[]): Promise<Float32Array[]>;
  /**
   * One optimizer step on the whole batch.
   * @param scheduleStep step of the learning rate's schedule; default the optimizer's own count
   * @throws NON_FINITE_STEP, INTERRUPTED: nothing changed; ENGINE_FAILED
   */
  update(sequences: readonly TrainSequence[], scheduleStep?: number): Promise<UpdateMetrics>;
  /** The same without the step: nothing changes. @throws NON_FINITE_STEP where `update` would; ENGINE_FAILED */
  rehearse(sequences: readonly TrainSequence[]): Promise<void>;
  /** One step of imitation. @throws as `update` */
  sft(sequences: readonly SftSequence[]): Promise<SftMetrics>;
  policy(): Promise<PolicySnapshot>;
  /** @returns path of the folder. @throws DISK_FULL */
  saveCheckpoint(dir: string, meta: CheckpointMeta): Promise<string>;
  /** Gives up what computes gradients or log-probs, and all that comes: INTERRUPTED. Checkpoints are still taken. */
  interrupt(): void;
  /** Takes up the newest whole checkpoint in `dir`; null, and nothing changes, when there is none. */
  restore(dir: string): Promise<RestoredCheckpoint | null>;
  close(): Promise<void>;
}
