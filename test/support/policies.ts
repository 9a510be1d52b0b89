// Policies of a tiny random model for tests of shardcast and its users: a recipe that names it, and successors of its weights.

import { configHash } from '../../node/model/config.ts';
import { tokenizerHash } from '../../node/model/folder.ts';
import { policyRoot } from '../../node/model/policy-root.ts';
import { writeSafetensors } from '../../node/model/safetensors.ts';
import type { Weights } from '../../node/model/weights.ts';
import { sha256, toHex, utf8 } from '../../node/protocol/bytes.ts';
import type { ModelTexts } from '../../shardcast/policies.ts';
import type { ChainRecipe } from '../../shardcast/recipe.ts';
import { randomModel } from './random-model.ts';

export interface TestPolicy {
  readonly weights: Uint8Array;
  readonly root: string;
}

const MODEL = randomModel();

export const TEXTS: ModelTexts = {
  config: utf8(MODEL.configJson),
  tokenizer: utf8('{"tokenizer":true}'),
  tokenizerConfig: utf8('{}'),
};

/** Weights of the n-th step: every value of the first tensor moved. */
export function policyAt(n: number): TestPolicy {
  const weights: Weights = new Map(
    [...MODEL.weights].map(([name, { shape, data }], i) => [
      name,
      { shape, data: i === 0 ? data.map((value) => value + n / 4) : data },
    ]),
  );
  return { weights: writeSafetensors(weights, 'BF16'), root: toHex(policyRoot(weights)) };
}

/** The part of a recipe that shardcast reads. @param trainers hex keys @param author hex key, the first trainer's by default */
export function chainRecipe(
  trainers: readonly string[],
  keepPolicies: number = 5,
  author: string = trainers[0] ?? '',
): ChainRecipe {
  const recipeId = sha256('a recipe');
  return {
    recipeId,
    recipeIdHex: toHex(recipeId),
    recipe: {
      author,
      trainers,
      staleness: { keepPolicies },
      model: {
        initialPolicyRoot: policyAt(0).root,
        configHash: toHex(configHash(JSON.parse(MODEL.configJson))),
        tokenizerHash: toHex(tokenizerHash(TEXTS.tokenizer, TEXTS.tokenizerConfig)),
      },
    },
  };
}
