// A liar answers another question than the one that recipe, policy, key and slot ask it: an easier one, one of another recipe,
// of another network, or of a policy that is gone.

import assert from 'node:assert/strict';
import { openEnvelope, sealEnvelope } from '../../node/protocol/envelope.ts';
import { encodeGroup } from '../../node/protocol/group.ts';
import { networkIdOf } from '../../node/protocol/network-id.ts';
import { sequenceSeed } from '../../node/protocol/seeds.ts';
import { samplingOf } from '../../verifier/checks/subject.ts';
import { proveCompletion } from '../../verifier/toploc/completion.ts';
import { HIDDEN_SIZE, scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { type MadeGroup, makeGroup, rootOf, testContext, testRecipe } from '../verifier/support/swarm.ts';
import { attack, type Scene } from './support.ts';

/** A true answer, with the liar's own random numbers of slot 0, to the question of another seed. */
function answerTo(scene: Scene, questionOf: number): MadeGroup {
  const { context } = scene;
  const { problem } = context.recipe.problemFor(scene.seedOf(questionOf));
  const prompt = Uint32Array.from(context.tokenizer.encode(problem.prompt, { addSpecialTokens: true }));
  const truth = scriptedPolicy(rootOf(0));
  return scene.lie(0, {
    body: (body) => ({
      prompt,
      sequences: body.sequences.map((_, i) => {
        const { hidden, ...rest } = truth.generate(prompt, sequenceSeed(scene.seedOf(0), i), samplingOf(context));
        return { ...rest, proofs: proveCompletion(hidden, HIDDEN_SIZE) };
      }),
    }),
  });
}

attack('a question of its choice', async (scene) => {
  const group = answerTo(scene, 1);
  assert.deepEqual(await scene.judge(group), ['reject PROMPT_MISMATCH']);
  assert.ok(scene.isQuarantined());
});

attack('the easiest of a hundred questions', async (scene) => {
  const { recipe } = scene.context;
  const lengthOf = (slot: number): number => recipe.problemFor(scene.seedOf(slot)).problem.prompt.length;
  const slots = Array.from({ length: 100 }, (_, i) => i + 1);
  const easiest = slots.reduce((best, slot) => (lengthOf(slot) < lengthOf(best) ? slot : best));
  assert.ok(lengthOf(easiest) <= lengthOf(0), 'it is no harder');
  assert.deepEqual(await scene.judge(answerTo(scene, easiest)), ['reject PROMPT_MISMATCH']);
});

attack('a group of another recipe, announced as one of this', async (scene) => {
  const other = testContext(testRecipe({}, { name: 'another' }));
  const { body } = makeGroup(other, scene.liar, 0);
  const group = scene.lie(0, { body: () => body, announcement: (each) => ({ ...each, rewards: each.rewards }) });
  assert.deepEqual(await scene.judge(group), ['reject PROMPT_MISMATCH']);
});

attack("an announcement of another recipe on this one's topic", async (scene) => {
  const other = makeGroup(testContext(testRecipe({}, { name: 'another' })), scene.liar, 0);
  const answer = await scene.announce(other);
  assert.deepEqual([answer.answer, answer.answer !== 'accept' && answer.code], ['ignore', 'UNKNOWN_RECIPE']);
});

attack('an announcement signed for another network', async (scene) => {
  const payload = encodeGroup(scene.lie(0, {}).announcement);
  const [here, there] = [networkIdOf('test'), networkIdOf('elsewhere')];
  const opened = openEnvelope(sealEnvelope('group', payload, scene.liar, there), here);
  assert.ok(!opened.ok && opened.answer.answer === 'ignore' && opened.answer.code === 'WRONG_NETWORK');
  // This network's id put in place of the other: the signature is of the other.
  const sealed = Buffer.from(sealEnvelope('group', payload, scene.liar, there));
  sealed.set(here, sealed.indexOf(there));
  const forged = openEnvelope(sealed, here);
  assert.ok(!forged.ok && forged.answer.answer === 'reject' && forged.answer.code === 'BAD_SIGNATURE');
});

attack('a question of a policy that is not followed, old or made up', async (scene) => {
  scene.chain.moveTo(1);
  const madeUp = scene.lie(0, { announcement: (each) => ({ ...each, policyRoot: new Uint8Array(32).fill(7) }) });
  const posing = scene.lie(0, { announcement: (each) => ({ ...each, policyStep: 1 }) });
  assert.deepEqual(await scene.judge(madeUp, posing), [null, null]);
  assert.equal(scene.inbox.ignoredCounts()['UNKNOWN_ROOT'], 2);
  scene.chain.moveTo(5);
  await scene.judge(scene.lie(0, {}));
  assert.equal(scene.inbox.ignoredCounts()['TOO_OLD'], 1, 'five steps behind, four are allowed');
});
