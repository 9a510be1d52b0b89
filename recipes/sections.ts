// The sections of a recipe: for each its type, and its zod schema with units, bounds, defaults and a doc line a field.
// Source: spec/rollouts.md, spec/grpo.md, spec/wire.md, spec/toploc.md; defaults are theirs, named where they are not.
// Everything here is data: names of tasks, rewards and losses pick from tables of ours.

import { z } from 'zod';
import { MAX_COMPLETION_TOKENS } from '../node/protocol/limits.ts';
import type { AdvantageName } from '../trainer/grpo/advantages.ts';
import type { LossName } from '../trainer/grpo/losses.ts';
import type { Normalisation } from '../trainer/grpo/normalise.ts';
import type { ChatTurn, Problem } from './tasks/task.ts';

const HASH = /^[0-9a-f]{64}$/;
const EPOCH_MS = 86_400_000;

/** 32 bytes as 64 lower-case hex digits. */
export function hex32(description: string): z.ZodString {
  return z
    .string({ error: 'expected 64 lower-case hex digits in quotes' })
    .regex(HASH, 'expected 64 lower-case hex digits')
    .describe(description);
}

/** The model that training starts from. */
export interface RecipeModel {
  readonly initialPolicyRoot: string;
  readonly configHash: string;
  readonly tokenizerHash: string;
  readonly hubId?: string;
}

export const modelSchema: z.ZodType<RecipeModel> = z.strictObject({
  initialPolicyRoot: hex32('policy root of the weights at step 0'),
  configHash: hex32('SHA-256 of the canonical JSON of the config fields that the graph builder reads'),
  tokenizerHash: hex32('SHA-256 of tokenizer.json ‖ tokenizer_config.json'),
  hubId: z.string().min(1).max(200).exactOptional().describe('where the model may also be had, such as owner/name'),
});

/** Turns that come before every row's own. */
export interface RowsChat {
  readonly turns: readonly ChatTurn[];
}

/** What comes before a generated question: a system turn, and other problems of the family with their answers. */
export interface ExamplesChat {
  readonly system?: string;
  readonly examples: number;
}

/** Problems written in the recipe; group seed modulo their number picks one. */
export interface RowsTask {
  readonly rows: readonly Problem[];
  readonly heldOutRows?: readonly Problem[];
  readonly weight: number;
  readonly chat?: RowsChat;
}

/** Problems that a family generates. `settings` are as that family's schema gives them, defaults filled in. */
export interface GeneratedTask {
  readonly task: string;
  readonly weight: number;
  readonly settings: unknown;
  readonly chat?: ExamplesChat;
}

export type RecipeTask = GeneratedTask | RowsTask;

/** Weight of one of several task families. */
export function taskWeight(): z.ZodDefault<z.ZodInt> {
  return z.int().min(1).max(1_000_000).default(1).describe('share of groups, relative to the other tasks');
}

const turns: z.ZodType<readonly ChatTurn[]> = z
  .array(
    z.strictObject({
      role: z.enum(['system', 'user', 'assistant']).describe('who said it'),
      content: z.string().max(65_536).describe('what was said'),
    }),
  )
  .max(64)
  .describe('turns of a chat before the question, such as a system turn and solved examples');

const row: z.ZodType<Problem> = z.strictObject({
  prompt: z.string().min(1).max(65_536).describe('text of the question; in a chat the last user turn'),
  answer: z.string().max(4_096).describe('what the rewards compare with'),
  turns: turns.exactOptional(),
});

/** Of a generated task: asks its questions in chats. */
export const examplesChatSchema: z.ZodType<ExamplesChat> = z
  .strictObject({
    system: z
      .string()
      .min(1)
      .max(4_096)
      .exactOptional()
      .describe('system turn; left out: the template may add its own'),
    examples: z
      .int()
      .min(0)
      .max(32)
      .default(0)
      .describe("solved examples before the question: other problems of the family, drawn under the group's seed"),
  })
  .describe("asks in a chat, through the model's chat template; left out: the question is the whole prompt");

export const rowsTaskSchema: z.ZodType<RowsTask> = z.strictObject({
  rows: z.array(row).min(1).max(10_000).describe('problems to train on'),
  heldOutRows: z.array(row).min(1).max(10_000).exactOptional().describe('problems for evaluation only'),
  weight: taskWeight(),
  chat: z
    .strictObject({ turns })
    .exactOptional()
    .describe("asks all rows in chats that begin with these turns, through the model's chat template"),
});

/** One term of the reward. */
export interface RecipeReward {
  readonly reward: string;
  readonly weight: number;
  readonly settings: unknown;
}

/** How completions are drawn. */
export interface RecipeSampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly maxNewTokens: number;
  readonly endTokens: readonly number[];
}

export const samplingSchema: z.ZodType<RecipeSampling> = z.strictObject({
  temperature: z.number().min(0.01).max(100).default(1).describe('divides the logits'),
  topK: z.int().min(0).max(1_000_000).default(0).describe('keep the k likeliest tokens; 0: all'),
  topP: z.number().gt(0).max(1).default(1).describe('keep the shortest likeliest prefix with this mass; 1: all'),
  maxNewTokens: z.int().min(1).max(MAX_COMPLETION_TOKENS).describe('longest completion in tokens, end token included'),
  endTokens: z
    .array(z.int().min(0).max(10_000_000))
    .min(1)
    .max(16)
    .describe('ids of the tokens that end a completion, in the tokenizer that model.tokenizerHash names'),
});

/** Which settings each loss has. Their defaults and meaning: trainer/grpo, one file a loss. */
export const LOSS_SETTINGS: Readonly<Record<LossName, readonly string[]>> = {
  grpo: ['epsilon', 'delta'],
  dapo: ['epsilonLow', 'epsilonHigh'],
  gspo: ['epsilonLow', 'epsilonHigh'],
  cispo: ['epsilonHigh'],
  aipo: ['rho'],
  icepop: ['low', 'high'],
  dppo: ['tau', 'kl'],
  decoupled: ['epsilon'],
};

/** Projections of a layer that may have an adapter. */
export const LORA_TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

/** Adapters of low rank that learn while the model's own weights stay; merged into what is published. */
export interface RecipeLora {
  readonly rank: number;
  /** the adapters' product is scaled by alpha / rank */
  readonly alpha: number;
  readonly targets: readonly (typeof LORA_TARGETS)[number][];
}

const loraSchema: z.ZodType<RecipeLora> = z.strictObject({
  rank: z.int().min(1).max(256).default(8).describe('columns of each adapter'),
  alpha: z.number().gt(0).max(1024).default(16).describe("the adapters' product is scaled by alpha / rank"),
  targets: z
    .array(z.enum(LORA_TARGETS))
    .min(1)
    .max(LORA_TARGETS.length)
    .default([...LORA_TARGETS])
    .describe('projections of each layer that have an adapter'),
});

/** The optimisation. */
export interface RecipeGrpo {
  readonly loss: LossName;
  readonly lossSettings: Readonly<Record<string, number>>;
  readonly advantages: AdvantageName;
  readonly normalisation: Normalisation;
  readonly klCoef: number;
  readonly entropyCoef: number;
  readonly learningRate: number;
  readonly warmUpSteps: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly clipNorm: number;
  readonly promptsPerStep: number;
  readonly sequencesPerUpdate: number;
  readonly maxUpdatesPerStep: number;
  readonly slowWhenStale: boolean;
  readonly maxDrift?: number;
  readonly maxSecondMoment?: number;
  readonly maxSteps?: number;
  readonly lora?: RecipeLora;
}

// Defaults of the optimizer and of batches are those of the known good run in spec/grpo.md, the others our own; the shipped recipes
// for tiny models set theirs.
export const grpoSchema: z.ZodType<RecipeGrpo> = z
  .strictObject({
    loss: z
      .enum(['grpo', 'dapo', 'gspo', 'cispo', 'aipo', 'icepop', 'dppo', 'decoupled'])
      .default('aipo')
      .describe('objective per token; trainer/grpo has a file for each loss'),
    lossSettings: z
      .record(z.string().min(1).max(32), z.number().min(0).max(1e6))
      .default({})
      .describe('settings of the loss, such as {"rho": 4}; those left out take the defaults of the loss'),
    advantages: z
      .enum(['mean', 'std', 'maxrl', 'rloo'])
      .default('mean')
      .describe('advantage of a rollout in its group'),
    normalisation: z
      .enum(['token', 'sequence', 'constant'])
      .default('token')
      .describe('what a batch sum is divided by: its tokens, per-sequence means, or sequences · maxNewTokens'),
    klCoef: z.number().min(0).max(100).default(0).describe('weight of the KL term against the frozen reference'),
    entropyCoef: z.number().min(0).max(100).default(0).describe('weight of the entropy bonus'),
    learningRate: z.number().gt(0).max(1).default(3e-7).describe('AdamW learning rate; tiny models take 1e-5 … 1e-4'),
    warmUpSteps: z.int().min(0).max(1_000_000).default(25).describe('policy steps of linear learning rate warm-up'),
    beta1: z.number().min(0).lt(1).default(0.9).describe('AdamW decay of the first moment'),
    beta2: z.number().min(0).lt(1).default(0.99).describe('AdamW decay of the second moment'),
    epsilon: z.number().gt(0).max(1).default(1e-8).describe('AdamW epsilon'),
    weightDecay: z.number().min(0).max(1).default(0.01).describe('AdamW decoupled weight decay'),
    clipNorm: z.number().gt(0).max(1e6).default(0.1).describe('largest global norm of a gradient'),
    promptsPerStep: z.int().min(1).max(65_536).default(256).describe('useful groups that make a policy step'),
    sequencesPerUpdate: z.int().min(1).max(1_048_576).default(512).describe('sequences in one optimizer update'),
    maxUpdatesPerStep: z.int().min(1).max(1024).default(8).describe('most optimizer updates in a policy step'),
    slowWhenStale: z
      .boolean()
      .default(false)
      .describe('brake: multiply the learning rate by the root of the effective share of the batch'),
    maxDrift: z
      .number()
      .gt(0)
      .max(100)
      .exactOptional()
      .describe(
        'brake: leave out rollouts below average whose tokens lost more log-prob than this on average, in nats',
      ),
    maxSecondMoment: z
      .number()
      .gt(0)
      .max(100)
      .exactOptional()
      .describe('brake: leave out the tokens of the largest log² w until the mean of the others is below this (0.04)'),
    maxSteps: z.int().min(1).max(100_000_000).exactOptional().describe('policy steps after which training ends'),
    lora: loraSchema
      .exactOptional()
      .describe('train adapters of low rank instead of all weights, far less memory; absent: all weights'),
  })
  .superRefine((grpo, context) => {
    for (const name of Object.keys(grpo.lossSettings)) {
      if (LOSS_SETTINGS[grpo.loss].includes(name)) continue;
      const message = `loss ${grpo.loss} has no setting ${name}; it has ${LOSS_SETTINGS[grpo.loss].join(', ')}`;
      context.addIssue({ code: 'custom', message, path: ['lossSettings', name] });
    }
  });

/** How old rollouts may be, and what a step waits for. */
export interface RecipeStaleness {
  readonly maxLagSteps: number;
  readonly keepPolicies: number;
  readonly publishEvery: number;
  readonly maxStepWaitMs: number;
  readonly maxSlotsPerStep: number;
  readonly bodyTimeoutMs: number;
}

export const stalenessSchema: z.ZodType<RecipeStaleness> = z
  .strictObject({
    maxLagSteps: z.int().min(0).max(1000).default(4).describe('older groups are not trained on, in policy steps'),
    keepPolicies: z.int().min(1).max(1001).default(5).describe('policies that peers keep; at least maxLagSteps + 1'),
    publishEvery: z.int().min(1).max(1000).default(1).describe('trainer steps from one published policy to the next'),
    maxStepWaitMs: z
      .int()
      .min(100)
      .max(EPOCH_MS)
      .default(30_000)
      .describe('after this a step is taken with the useful groups there are (at least one), in ms'),
    maxSlotsPerStep: z.int().min(1).max(1_000_000).default(4096).describe('most groups of one peer at one policy step'),
    bodyTimeoutMs: z
      .int()
      .min(100)
      .max(EPOCH_MS)
      .default(30_000)
      .describe("a body that takes longer to fetch closes its peer's step, in ms; our own default"),
  })
  .refine((staleness) => staleness.keepPolicies >= staleness.maxLagSteps + 1, {
    message: 'keepPolicies must be at least maxLagSteps + 1: raise it, or lower maxLagSteps',
    path: ['keepPolicies'],
  });

/** Limits of TOPLOC per chunk of 32 tokens. */
export interface RecipeToploc {
  readonly maxExponentMismatches: number;
  readonly maxMantissaErrorMean: number;
  readonly maxMantissaErrorMedian: number;
}

const toplocSchema: z.ZodType<RecipeToploc> = z.strictObject({
  maxExponentMismatches: z.int().min(0).max(128).default(38).describe('exponents that may differ, of 128 in a chunk'),
  maxMantissaErrorMean: z.number().min(0).max(128).default(10).describe('mean mantissa difference, in bf16 units'),
  maxMantissaErrorMedian: z.number().min(0).max(128).default(8).describe('median mantissa difference, in bf16 units'),
});

/** Whose acceptance lets a group be trained on. */
export interface RecipeAcceptance {
  readonly rule: 'own' | 'standing' | 'quorum';
  readonly minStanding: number;
  readonly quorum: number;
}

const acceptanceSchema: z.ZodType<RecipeAcceptance> = z.strictObject({
  rule: z
    .enum(['own', 'standing', 'quorum'])
    .default('own')
    .describe(
      "own: the trainer's own verifier, or one that verifiers names; standing: also any with minStanding; quorum: that many of all these",
    ),
  minStanding: z
    .number()
    .gt(0)
    .max(1)
    .default(0.8)
    .describe(
      "least standing: c / (c + 8 · 4^n) for c verdicts that the trainer's own checks confirmed since the last of n that they contradicted",
    ),
  quorum: z.int().min(1).max(256).default(2).describe('verifiers that have to accept under the rule quorum'),
});

/** What a verifier holds rollouts to. */
export interface RecipeVerification {
  readonly delta: number;
  readonly maxLogprobDrift: number;
  readonly maxMeanLogprobDrift: number;
  readonly toploc: RecipeToploc;
  readonly probationGroups: number;
  readonly pMin: number;
  readonly quarantineSteps: number;
  readonly replayConsumed: boolean;
  readonly verifiers: readonly string[];
  readonly acceptance: RecipeAcceptance;
}

export const verificationSchema: z.ZodType<RecipeVerification> = z.strictObject({
  delta: z.number().gt(0).max(1).default(1e-4).describe('how far honest logits / temperature may move, in nats'),
  maxLogprobDrift: z.number().gt(0).max(10).default(1e-3).describe('claimed against recomputed, of a token, in nats'),
  maxMeanLogprobDrift: z.number().gt(0).max(10).default(1e-4).describe('the same, mean of a sequence, in nats'),
  toploc: toplocSchema.prefault({}).describe('limits of the activation proofs'),
  probationGroups: z.int().min(0).max(100_000).default(8).describe("a newcomer's first groups, all checked whole"),
  pMin: z.number().gt(0).max(1).default(0.1).describe('least probability that a group is checked whole'),
  quarantineSteps: z.int().min(1).max(1_000_000).default(14).describe('length of a quarantine, in policy steps'),
  replayConsumed: z.boolean().default(true).describe('the trainer replays every group that it trains on'),
  verifiers: z
    .array(hex32('public key (Ed25519)'))
    .max(256)
    .default([])
    .describe('keys whose accept verdicts count at once'),
  acceptance: acceptanceSchema.prefault({}).describe('whose acceptance lets a group be trained on'),
});
