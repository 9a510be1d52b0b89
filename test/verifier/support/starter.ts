// The starter model that is shipped, under a real engine, and groups of it as a peer makes them.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type ModelConfig, parseModelConfig } from '../../../node/model/config.ts';
import { loadModelFolder } from '../../../node/model/folder.ts';
import { policyRoot } from '../../../node/model/policy-root.ts';
import type { Weights } from '../../../node/model/weights.ts';
import { fromHex, toHex } from '../../../node/protocol/bytes.ts';
import type { KeyPair } from '../../../node/protocol/keys.ts';
import type { GeneratedSequence, PolicyEngine, PolicyFiles, SamplingSettings } from '../../../node/protocol/ports.ts';
import { groupSeed, sequenceSeed } from '../../../node/protocol/seeds.ts';
import { type BodyContext, samplingOf } from '../../../verifier/checks/subject.ts';
import { type ScriptedPolicy, scriptedPolicy } from './scripted-policy.ts';
import { type MadeGroup, makeGroup, rootOf, starterTokenizer, testRecipe } from './swarm.ts';

/** A model in a folder, with what a test wants of it in memory. */
export interface StarterModel {
  readonly files: PolicyFiles;
  readonly config: ModelConfig;
  readonly weights: Weights;
}

const path = (name: string): string => fileURLToPath(new URL(`../../../recipes/starter/${name}`, import.meta.url));

export async function loadStarter(): Promise<StarterModel> {
  const configJson = readFileSync(path('config.json'), 'utf8');
  const { weights } = await loadModelFolder(path('.'));
  const files = { policyRoot: toHex(policyRoot(weights)), configJson, weightsFile: path('model.safetensors') };
  return { files, config: parseModelConfig(JSON.parse(configJson)), weights };
}

/** Follow the arrows with the starter's sizes. */
export function starterContext({ config }: StarterModel): BodyContext {
  return {
    recipe: testRecipe(),
    tokenizer: starterTokenizer(),
    modelVocabulary: config.vocabSize,
    hiddenSize: config.hiddenSize,
  };
}

/**
 * Groups of a peer at step 0, slots 0 … count − 1.
 * @param root which of the engine's policies makes them
 * @param sampling the recipe's, unless the peer lies
 * @param namedRoot what the groups name as their policy
 */
export async function groupsBy(
  engine: PolicyEngine,
  root: string,
  context: BodyContext,
  peer: KeyPair,
  count: number,
  sampling: SamplingSettings = samplingOf(context),
  namedRoot: string = rootOf(0),
): Promise<MadeGroup[]> {
  const names = { recipeId: context.recipe.recipeId, policyRoot: fromHex(namedRoot), peerId: peer.peerId };
  const requests = Array.from({ length: count }, (_, slot) => {
    const seed = groupSeed({ ...names, slot });
    const { problem } = context.recipe.problemFor(seed);
    const sequenceSeeds = Array.from({ length: context.recipe.recipe.groupSize }, (__, i) => sequenceSeed(seed, i));
    const prompt = Uint32Array.from(context.tokenizer.encode(problem.prompt, { addSpecialTokens: true }));
    return { prompt, sequenceSeeds };
  });
  const made = await engine.generate(root, sampling, requests);
  const bySeed = new Map<string, GeneratedSequence>();
  for (const [g, { sequenceSeeds }] of requests.entries()) {
    for (const [i, seed] of sequenceSeeds.entries()) bySeed.set(toHex(seed), made[g]![i]!);
  }
  const policy: ScriptedPolicy = { ...scriptedPolicy(''), generate: (_, seed) => bySeed.get(toHex(seed))! };
  return requests.map((_, slot) => makeGroup(context, peer, slot, 0, { policy, root: namedRoot }));
}
