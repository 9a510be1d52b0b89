// A liar plays with the books: goes back to a step whose questions it knows, ahead to one that is not there, uses slots that are
// none, sends an announcement again, or grinds group ids to be trained on first. (Slots left out: cherry-picked-slots.test.ts.)

import assert from 'node:assert/strict';
import { concatBytes } from '../../node/protocol/bytes.ts';
import { encodeGroup } from '../../node/protocol/group.ts';
import { groupSeed } from '../../node/protocol/seeds.ts';
import { inBatchOrder } from '../../trainer/batch.ts';
import { REORDER_GRACE_MS } from '../../verifier/checks/slots.ts';
import { signAs } from '../support/memory-inbox.ts';
import { type MadeGroup, makeGroup, newPeer, rootOf } from '../verifier/support/swarm.ts';
import { attack, type Scene } from './support.ts';

attack('back to an earlier step, once it has shown groups of a later one', async (scene) => {
  scene.chain.moveTo(1);
  const later = makeGroup(scene.context, scene.liar, 0, 1);
  assert.deepEqual(await scene.judge(later), ['accept']);
  await scene.settle(REORDER_GRACE_MS + 1);
  assert.deepEqual(await scene.judge(scene.lie(0, {})), [null]);
  assert.equal(scene.inbox.ignoredCounts()['STEP_BACKWARD'], 1);
  assert.equal(scene.isQuarantined(), false, 'late is not lying');
});

attack('ahead, to a step that nobody has published', async (scene) => {
  const early = makeGroup(scene.context, scene.liar, 0, 1);
  assert.deepEqual(await scene.judge(early), [null]);
  assert.equal(scene.inbox.ignoredCounts()['UNKNOWN_ROOT'], 1);
});

attack('a slot beyond what a step has', async (scene) => {
  const { maxSlotsPerStep } = scene.context.recipe.recipe.staleness;
  assert.deepEqual(await scene.judge(scene.lie(maxSlotsPerStep, {})), [null]);
  assert.equal(scene.inbox.ignoredCounts()['SLOT_OUT_OF_RANGE'], 1);
});

/** The same announcement in another encoding: fields of a later release behind it give it any id. */
function reencoded(scene: Scene, group: MadeGroup, salt: number): MadeGroup {
  const payload = concatBytes(encodeGroup(group.announcement), Uint8Array.of(0xf8, 0x01, salt & 0x7f));
  return { ...group, message: signAs(scene.liar, 'group', payload) };
}

attack('an announcement again, in another encoding', async (scene) => {
  const group = scene.lie(0, {});
  assert.deepEqual(await scene.judge(group, group), ['accept', 'accept']);
  assert.equal(scene.verdictsOn(group).length, 1);
  assert.deepEqual(await scene.judge(reencoded(scene, group, 1)), [null]);
  assert.equal(scene.inbox.ignoredCounts()['SLOT_SEEN'], 1);
  assert.equal(scene.verifier.stats().announced, 1);
});

attack('group ids ground to come first: the order of a batch knows none', async (scene) => {
  const group = scene.lie(0, {});
  const ids = Array.from({ length: 100 }, (_, salt) => reencoded(scene, group, salt).message.idHex);
  const others = Array.from({ length: 5 }, () => makeGroup(scene.context, newPeer(), 0));
  const candidates = (groupId: string) =>
    [{ ...group, message: { ...group.message, idHex: groupId } }, ...others].map(({ message, announcement }) => ({
      groupId: message.idHex,
      peer: message.peerIdString,
      policyStep: 0,
      groupSeed: groupSeed(announcement),
    }));
  const placeWith = (groupId: string): number =>
    inBatchOrder(candidates(groupId), rootOf(0)).findIndex((each) => each.groupId === groupId);
  assert.ok(new Set(ids).size > 90, 'grinding gives ids');
  assert.equal(new Set(ids.map(placeWith)).size, 1, 'and one place for all of them');
});
