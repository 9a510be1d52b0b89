// Typed access to grpo.json of the vector folder (MURMUR_VECTORS, default test/vectors).

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AdvantageName } from '../../trainer/grpo/advantages.ts';
import type { LossName } from '../../trainer/grpo/losses.ts';
import type { Normalisation } from '../../trainer/grpo/normalise.ts';

export interface AdvantageCase extends Readonly<Record<AdvantageName, readonly number[]>> {
  readonly rewards: readonly number[];
  readonly carries_nothing: boolean;
}

export interface LossCase {
  readonly loss: LossName;
  readonly settings: Readonly<Record<string, number>>;
  readonly normalisation: Normalisation;
  readonly kl_coef: number;
  readonly value: number;
  readonly grad_logprobs: readonly (readonly number[])[];
}

export interface AdamwCase {
  readonly weight_decay: readonly number[];
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly clip_norm: number;
  readonly start: readonly (readonly number[])[];
  readonly steps: readonly {
    readonly lr: number;
    readonly grads: readonly (readonly number[])[];
    readonly norm_before_clip: number;
    readonly after: readonly (readonly number[])[];
  }[];
}

export interface GrpoVectors {
  readonly advantages: readonly AdvantageCase[];
  readonly inputs: {
    readonly lengths: readonly number[];
    readonly advantages: readonly number[];
    readonly max_new_tokens: number;
    readonly logprobs: readonly (readonly number[])[];
    readonly logprobs_worker: readonly (readonly number[])[];
    readonly logprobs_old: readonly (readonly number[])[];
    readonly logprobs_reference: readonly (readonly number[])[];
  };
  readonly losses: readonly LossCase[];
  readonly adamw: readonly AdamwCase[];
}

/** The vectors of PyTorch for advantages, losses and AdamW. */
export function grpoVectors(): GrpoVectors {
  const folder = process.env.MURMUR_VECTORS ?? 'test/vectors';
  return JSON.parse(readFileSync(join(folder, 'grpo.json'), 'utf8')) as GrpoVectors;
}
