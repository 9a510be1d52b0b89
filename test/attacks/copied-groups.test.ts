// A liar saves itself the work: sends an announcement again, or another peer's group under its own name, before that peer or
// after it, or the same text from two keys. Equal answers by chance are no lie, and the peer that was copied pays nothing.

import assert from 'node:assert/strict';
import { encodeGroup } from '../../node/protocol/group.ts';
import { MIN_COPY_TOKENS } from '../../verifier/checks/copies.ts';
import { signAs } from '../support/memory-inbox.ts';
import { shippedTemplate } from '../support/recipe-sources.ts';
import { GROUP_SIZE, type MadeGroup, makeGroup, newPeer, testContext, testRecipe } from '../verifier/support/swarm.ts';
import { attack, forge, type Scene } from './support.ts';

attack('an announcement sent again is judged once', async (scene) => {
  const group = scene.lie(0, {});
  for (let i = 0; i < 3; i++) await scene.announce(group);
  assert.equal(scene.verdictOn(group), null, 'it still waits');
  await scene.settle();
  await scene.judge(group, group);
  assert.equal(scene.verdictsOn(group).length, 1);
  assert.equal(scene.verifier.stats().announced, 1);
});

attack("another peer's announcement under one's own signature", async (scene) => {
  const { announcement } = makeGroup(scene.context, newPeer(), 0);
  const message = signAs(scene.liar, 'group', encodeGroup(announcement));
  const answer = await scene.inbox.deliver(message, scene.context.recipe.recipeIdHex);
  assert.ok(answer.answer === 'reject' && answer.code === 'BAD_SIGNATURE');
});

/** A victim's body, announced by the liar as its own. */
function stolen(scene: Scene, victim: MadeGroup): MadeGroup {
  const { rewards, lengths } = victim.announcement;
  return scene.lie(0, { body: () => victim.body, announcement: (each) => ({ ...each, rewards, lengths }) });
}

for (const order of ['after it', 'before it']) {
  attack(`another peer's body, shown ${order}: its prompt is not the one that this key draws`, async (scene) => {
    const victim = makeGroup(scene.context, newPeer(), 0);
    const copy = stolen(scene, victim);
    await scene.judge(...(order === 'after it' ? [victim, copy] : [copy, victim]));
    assert.deepEqual([victim, copy].map(scene.verdictOn), ['accept', 'reject PROMPT_MISMATCH']);
    assert.ok(scene.isQuarantined());
    assert.equal(scene.verifier.standing.isQuarantined(victim.message.peerIdString, 0), false);
  });
}

/** Completions long enough to be looked at, and newcomers of whom one sequence is replayed, not all. */
const sampling = { ...(shippedTemplate('arrows')['sampling'] as object), maxNewTokens: 40, endTokens: [99] };
const SAMPLED = testContext(testRecipe({ probationGroups: 0, pMin: 1e-9 }, { sampling }));

attack(
  "one completion of another peer's among one's own: the group is replayed whole",
  async (scene) => {
    const victim = makeGroup(scene.context, newPeer(), 0);
    const [taken] = victim.body.sequences;
    assert.ok(taken!.tokens.length >= MIN_COPY_TOKENS);
    assert.deepEqual(await scene.judge(victim), ['accept']);
    // One sequence of each group is replayed in any case, chosen in secret: of these eight copies it is hardly ever the copy.
    for (let key = 0; key < 8; key++) {
      const copy = makeGroup(scene.context, newPeer(), 0, 0, {
        body: (own) => forge(scene.context)({ ...own, sequences: own.sequences.with(key % GROUP_SIZE, taken!) }),
      });
      assert.deepEqual(await scene.judge(copy), ['reject REPLAY_MISMATCH'], `copy ${key}`);
    }
    assert.equal(scene.verdictOn(victim), 'accept');
  },
  SAMPLED,
);

attack(
  'the same text from two keys of one liar',
  async (scene) => {
    const [one, two] = [newPeer(), newPeer()];
    const text = makeGroup(scene.context, newPeer(), 7).body.sequences;
    const both = [one, two].map((key) =>
      makeGroup(scene.context, key, 0, 0, { body: (own) => forge(scene.context)({ ...own, sequences: text }) }),
    );
    assert.deepEqual(await scene.judge(...both), ['reject REPLAY_MISMATCH', 'reject REPLAY_MISMATCH']);
  },
  SAMPLED,
);

attack("another peer's completions under one's own prompt", async (scene) => {
  const victim = makeGroup(scene.context, newPeer(), 0);
  const copy = scene.lie(0, { body: (own) => ({ prompt: own.prompt, sequences: victim.body.sequences }) });
  assert.match((await scene.judge(copy))[0]!, /^reject (REPLAY_MISMATCH|LOGPROB_DRIFT)$/);
});

attack('equal short answers by chance are no lie', async (scene) => {
  // So many honest groups that some of their completions are equal.
  const peers = Array.from({ length: 40 }, () => makeGroup(scene.context, newPeer(), 0));
  const texts = peers.flatMap(({ body }) => body.sequences.map(({ tokens }) => tokens.join()));
  assert.ok(new Set(texts).size < texts.length, 'some are equal');
  assert.deepEqual(
    await scene.judge(...peers),
    peers.map(() => 'accept'),
  );
});
