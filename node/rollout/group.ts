// One group of rollouts: from a slot to its problem and seeds, from what was generated to body and announcement.
// Source: spec/rollouts.md. Pure but for the prover: (policy, recipe, peer, slot) in, the same group out on every run.

import { type PromptTokenizer, promptOf } from '../../recipes/prompt.ts';
import type { ResolvedRecipe } from '../../recipes/resolve.ts';
import type { Problem } from '../../recipes/tasks/task.ts';
import { encodeBody } from '../protocol/body.ts';
import { fromHex, sha256 } from '../protocol/bytes.ts';
import { encodeGroup } from '../protocol/group.ts';
import type { GeneratedSequence, GenerateRequest, Prover } from '../protocol/ports.ts';
import { groupSeed, sequenceSeed } from '../protocol/seeds.ts';

/** The part of a tokenizer that rollouts need. */
export interface RolloutTokenizer extends PromptTokenizer {
  decode(ids: Uint32Array): string;
}

/** What names a group. */
export interface GroupPlace {
  readonly policyStep: number;
  /** hex */
  readonly policyRoot: string;
  readonly slot: number;
}

/** A group to be generated. */
export interface PlannedGroup extends GroupPlace {
  readonly problem: Problem;
  readonly request: GenerateRequest;
}

/** A group ready to be stored and announced. */
export interface FinishedGroup extends GroupPlace {
  readonly body: Uint8Array;
  /** the announcement */
  readonly payload: Uint8Array;
  readonly problem: Problem;
  /** one text a rollout, without the end token */
  readonly completions: readonly string[];
  /** millionths */
  readonly rewards: readonly number[];
  readonly tokens: number;
}

export interface GroupMaker {
  plan(place: GroupPlace): PlannedGroup;
  /** @throws {SwarmError} PROOF_NAN, ENGINE_FAILED */
  finish(planned: PlannedGroup, sequences: readonly GeneratedSequence[], hiddenSize: number): Promise<FinishedGroup>;
}

/** The completion's tokens as rewards see them: the end token is removed before decoding (spec/wire.md "Text"). */
function withoutEnd({ tokens, finish }: GeneratedSequence): Uint32Array {
  return finish === 'eos' ? tokens.subarray(0, -1) : tokens;
}

/** @param peerId multihash of the peer, as announcements carry it */
export function createGroupMaker(
  components: { readonly tokenizer: RolloutTokenizer; readonly prover: Prover },
  init: { readonly recipe: ResolvedRecipe; readonly peerId: Uint8Array },
): GroupMaker {
  const { tokenizer, prover } = components;
  const { recipe, peerId } = init;
  const { groupSize } = recipe.recipe;
  return {
    plan(place) {
      const policyRoot = fromHex(place.policyRoot, 32);
      const seed = groupSeed({ recipeId: recipe.recipeId, policyRoot, peerId, slot: place.slot });
      const { problem } = recipe.problemFor(seed);
      const prompt = promptOf(tokenizer, problem).tokens;
      const sequenceSeeds = Array.from({ length: groupSize }, (_, i) => sequenceSeed(seed, i));
      return { ...place, problem, request: { prompt, sequenceSeeds } };
    },
    async finish({ problem, request, policyStep, policyRoot, slot }, sequences, hiddenSize) {
      const proofs = await Promise.all(sequences.map(({ hidden }) => prover.prove(hidden, hiddenSize)));
      const completions = sequences.map((sequence) => tokenizer.decode(withoutEnd(sequence)));
      const rewards = completions.map((text) => recipe.score(problem, text));
      const lengths = sequences.map(({ tokens }) => tokens.length);
      const body = encodeBody({
        prompt: request.prompt,
        sequences: sequences.map(({ tokens, logprobs, finish }, i) => ({
          tokens,
          logprobs,
          finish,
          proofs: proofs[i]!,
        })),
      });
      const payload = encodeGroup({
        recipeId: recipe.recipeId,
        policyStep,
        policyRoot: fromHex(policyRoot, 32),
        peerId,
        slot,
        rewards,
        lengths,
        bodyHash: sha256(body),
        bodyBytes: body.length,
      });
      const tokens = lengths.reduce((sum, length) => sum + length, 0);
      return { policyStep, policyRoot, slot, body, payload, problem, completions, rewards, tokens };
    },
  };
}
