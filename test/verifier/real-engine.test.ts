// The verifier with the engine and the starter model that are shipped: honest groups pass, altered weights do not.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseModelConfig } from '../../node/model/config.ts';
import { createPolicyEngine } from '../../node/model/engine/engine.ts';
import { loadModelFolder } from '../../node/model/folder.ts';
import { policyRoot } from '../../node/model/policy-root.ts';
import { fromHex, toHex } from '../../node/protocol/bytes.ts';
import type { KeyPair } from '../../node/protocol/keys.ts';
import type { GeneratedSequence, PolicyEngine, PolicyFiles } from '../../node/protocol/ports.ts';
import { groupSeed, sequenceSeed } from '../../node/protocol/seeds.ts';
import { promptOf } from '../../recipes/prompt.ts';
import { checkReplay } from '../../verifier/checks/stage-two.ts';
import { type BodyContext, samplingOf } from '../../verifier/checks/subject.ts';
import { startVerifier } from './support/running.ts';
import { type ScriptedPolicy, scriptedPolicy } from './support/scripted-policy.ts';
import {
  type MadeGroup,
  makeGroup,
  newPeer,
  rootOf,
  starterTokenizer,
  testChain,
  testRecipe,
} from './support/swarm.ts';

const starter = (name: string): string => fileURLToPath(new URL(`../../recipes/starter/${name}`, import.meta.url));
const configJson = readFileSync(starter('config.json'), 'utf8');
const config = parseModelConfig(JSON.parse(configJson));
const realRoot = await rootOfFile();
const realFiles: PolicyFiles = { policyRoot: realRoot, configJson, weightsFile: starter('model.safetensors') };
const context: BodyContext = {
  recipe: testRecipe(),
  tokenizer: starterTokenizer(),
  modelVocabulary: config.vocabSize,
  hiddenSize: config.hiddenSize,
};
const LIMITS = { threads: 1, memoryBytes: 2 ** 29 };
const engine = createPolicyEngine(LIMITS);
const liarsEngine = createPolicyEngine(LIMITS);
after(() => Promise.all([engine.close(), liarsEngine.close()]));

/** The chain of the test swarm has made-up roots; behind each of them lie the starter's weights. */
const verifiersEngine: PolicyEngine = {
  ...engine,
  load: () => engine.load(realFiles),
  replay: (_, ...rest) => engine.replay(realRoot, ...rest),
};

async function rootOfFile(): Promise<string> {
  const { weights } = await loadModelFolder(starter('.'));
  return toHex(policyRoot(weights));
}

/** Groups of a peer at step 0. */
async function generated(peer: KeyPair, count: number, by: PolicyEngine): Promise<MadeGroup[]> {
  const names = { recipeId: context.recipe.recipeId, policyRoot: fromHex(rootOf(0)), peerId: peer.peerId };
  const requests = Array.from({ length: count }, (_, slot) => {
    const seed = groupSeed({ ...names, slot });
    const { problem } = context.recipe.problemFor(seed);
    const sequenceSeeds = Array.from({ length: context.recipe.recipe.groupSize }, (__, i) => sequenceSeed(seed, i));
    const prompt = promptOf(context.tokenizer, problem).tokens;
    return { prompt, sequenceSeeds };
  });
  const made = await by.generate(realRoot, samplingOf(context), requests);
  const bySeed = new Map<string, GeneratedSequence>();
  for (const [g, { sequenceSeeds }] of requests.entries()) {
    for (const [i, seed] of sequenceSeeds.entries()) bySeed.set(toHex(seed), made[g]![i]!);
  }
  const policy: ScriptedPolicy = { ...scriptedPolicy(''), generate: (_, seed) => bySeed.get(toHex(seed))! };
  return requests.map((_, slot) => makeGroup(context, peer, slot, 0, { policy }));
}

test('honest groups are accepted, altered weights rejected', async () => {
  await engine.load(realFiles);
  await liarsEngine.load(realFiles, { alterWeights: { seed: 1, scale: 0.05 } });
  const honest = await generated(newPeer(), 6, engine);
  const liars = await generated(newPeer(), 2, liarsEngine);

  const running = await startVerifier({ context, chain: testChain(), realEngine: verifiersEngine });
  try {
    for (const group of [...honest, ...liars]) await running.announce(group);
    for (let i = 0; i < 200 && running.verifier.stats().waiting > 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(
      honest.map(running.verdictOn),
      honest.map(() => 'accept'),
    );
    for (const group of liars) assert.match(running.verdictOn(group)!, /^reject (REPLAY_MISMATCH|LOGPROB_DRIFT)$/);
    const { standing } = running.verifier;
    assert.equal(standing.isQuarantined(liars[0]!.message.peerIdString, 0), true);
    assert.equal(standing.of(honest[0]!.message.peerIdString).softMisses, 0);
  } finally {
    await running.stop();
  }
});

test('an honest replay lies far inside every limit', async () => {
  await engine.load(realFiles);
  const groups = await generated(newPeer(), 8, engine);
  for (const { announcement, body } of groups) {
    const replayed = await engine.replay(
      realRoot,
      samplingOf(context),
      body.sequences.map(({ tokens }) => ({ prompt: body.prompt, tokens })),
    );
    body.sequences.forEach((_, i) => {
      const tight = {
        delta: 1e-5,
        maxLogprobDrift: 2e-5,
        maxMeanLogprobDrift: 1e-5,
        maxExponentMismatches: 4,
        maxMantissaErrorMean: 0.5,
        maxMantissaErrorMedian: 0,
      };
      const verdict = checkReplay(context, announcement, body, i, replayed[i]!, tight);
      assert.equal(verdict.answer, 'accept', JSON.stringify(verdict));
    });
  }
});
