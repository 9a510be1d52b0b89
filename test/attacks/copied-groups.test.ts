// A liar saves itself the work: sends an announcement again, or another peer's body under its own name.

import assert from 'node:assert/strict';
import { encodeGroup } from '../../node/protocol/group.ts';
import { signAs } from '../support/memory-inbox.ts';
import { makeGroup, newPeer } from '../verifier/support/swarm.ts';
import { attack } from './support.ts';

attack('an announcement sent again is judged once', async (scene) => {
  const group = scene.lie(0, {});
  await scene.judge(group, group, group);
  assert.equal(scene.verdictsOn(group).length, 1);
  assert.equal(scene.verifier.stats().announced, 1);
});

attack("another peer's announcement under one's own signature", async (scene) => {
  const { announcement } = makeGroup(scene.context, newPeer(), 0);
  const message = signAs(scene.liar, 'group', encodeGroup(announcement));
  const answer = await scene.inbox.deliver(message, scene.context.recipe.recipeIdHex);
  assert.ok(answer.answer === 'reject' && answer.code === 'BAD_SIGNATURE');
});

attack("another peer's body: its prompt is not the one that this key draws", async (scene) => {
  const victim = makeGroup(scene.context, newPeer(), 0);
  const { rewards, lengths } = victim.announcement;
  const copy = scene.lie(0, { body: () => victim.body, announcement: (each) => ({ ...each, rewards, lengths }) });
  assert.deepEqual(await scene.judge(copy), ['reject PROMPT_MISMATCH']);
  assert.ok(scene.isQuarantined());
});

attack("another peer's completions under one's own prompt", async (scene) => {
  const victim = makeGroup(scene.context, newPeer(), 0);
  const copy = scene.lie(0, { body: (own) => ({ prompt: own.prompt, sequences: victim.body.sequences }) });
  assert.match((await scene.judge(copy))[0]!, /^reject (REPLAY_MISMATCH|LOGPROB_DRIFT)$/);
});
