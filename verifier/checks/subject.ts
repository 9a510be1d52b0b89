// What a check looks at, and the shape of a check: a name, what it costs, a pure function to an answer.
// Source: spec/rollouts.md "Order of checks: cheap first". Checks answer, they do not throw.

import type { BodySequence, GroupBody } from '../../node/protocol/body.ts';
import type { CheckAnswer } from '../../node/protocol/check.ts';
import type { GroupAnnouncement } from '../../node/protocol/group.ts';
import type { ReplayedSequence, SamplingSettings } from '../../node/protocol/ports.ts';
import { groupSeed } from '../../node/protocol/seeds.ts';
import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import type { PromptTokenizer } from '../../recipes/prompt.ts';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import type { Problem } from '../../recipes/tasks/task.ts';
import type { ProofDistance } from '../toploc/compare.ts';
import type { ProofsProblem } from '../toploc/completion.ts';

/** The part of a tokenizer that checks need. */
export interface TextCodec extends PromptTokenizer {
  decode(ids: readonly number[] | Uint32Array): string;
}

/** What is fixed for all groups of a recipe. */
export interface BodyContext {
  readonly recipe: ResolvedRecipe;
  readonly tokenizer: TextCodec;
  /** rows of the model's embedding, ≥ tokenizer.vocabSize */
  readonly modelVocabulary: number;
  /** width of the final-norm states */
  readonly hiddenSize: number;
}

/** One group under check. */
export interface BodySubject {
  readonly context: BodyContext;
  readonly announcement: GroupAnnouncement;
  readonly body: GroupBody;
  readonly groupSeed: Uint8Array;
  readonly problem: Problem;
}

/** constant: by lengths; tokens: one look at each token; text: decoding and scoring; model: a forward pass */
export type CheckCost = 'constant' | 'tokens' | 'text' | 'model';

export interface Check<Subject> {
  readonly name: string;
  readonly cost: CheckCost;
  readonly run: (subject: Subject) => CheckAnswer;
}

/** One sequence of a group beside what the policy itself says of it: plain data, so that it can go to another thread. */
export interface ReplaySubject {
  readonly groupSeed: Uint8Array;
  /** index of the sequence in its group */
  readonly sequence: number;
  readonly rollout: Pick<BodySequence, 'tokens' | 'logprobs' | 'proofs'>;
  readonly replayed: ReplayedSequence;
  /** width of the final-norm states */
  readonly hiddenSize: number;
  readonly limits: VerificationLimits;
  /** what was computed of it before, so that no check does so again */
  readonly known?: KnownOfReplay;
}

export interface KnownOfReplay {
  /** the uniform number of each token */
  readonly drawn: Float64Array;
  /** of each proof from the replayed states, or why they cannot be read */
  readonly distances: readonly ProofDistance[] | ProofsProblem;
}

/**
 * @param sequence index in the group
 * @param replayed what `PolicyEngine.replay` gave for the body's prompt and this sequence's tokens
 * @param limits the recipe's by default
 */
export function replaySubject(
  context: BodyContext,
  announcement: GroupAnnouncement,
  body: GroupBody,
  sequence: number,
  replayed: ReplayedSequence,
  limits: VerificationLimits = limitsOf(context.recipe),
): ReplaySubject {
  const { tokens, logprobs, proofs } = body.sequences[sequence]!;
  const { hiddenSize } = context;
  return {
    groupSeed: groupSeed(announcement),
    sequence,
    rollout: { tokens, logprobs, proofs },
    replayed,
    hiddenSize,
    limits,
  };
}

/** @throws {RecipeError} when the recipe's task cannot draw a problem */
export function bodySubject(context: BodyContext, announcement: GroupAnnouncement, body: GroupBody): BodySubject {
  const seed = groupSeed(announcement);
  return { context, announcement, body, groupSeed: seed, problem: context.recipe.problemFor(seed).problem };
}

/** Ids from here on have no token. */
export function tokenCount(context: BodyContext): number {
  return Math.min(context.tokenizer.vocabSize, context.modelVocabulary);
}

/** The recipe's sampling as an engine takes it. */
export function samplingOf(context: BodyContext): SamplingSettings {
  return { ...context.recipe.recipe.sampling, tokenCount: tokenCount(context) };
}

/** The limits of a recipe, in the flat form that verdicts carry. */
export function limitsOf(recipe: ResolvedRecipe): VerificationLimits {
  const { delta, maxLogprobDrift, maxMeanLogprobDrift, toploc } = recipe.recipe.verification;
  return { delta, maxLogprobDrift, maxMeanLogprobDrift, ...toploc };
}
