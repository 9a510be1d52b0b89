// A liar with any number of keys tries to use up the verifier: garbage from ever new keys, bodies that never come, bodies of
// megabytes of nothing. Whoever has earned a standing is judged meanwhile; a liar pays a key for each try.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { encodeGroup } from '../../node/protocol/group.ts';
import type { KeyPair } from '../../node/protocol/keys.ts';
import type { WaitingLimits } from '../../verifier/giving-up.ts';
import { signAs } from '../support/memory-inbox.ts';
import { scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { type MadeGroup, makeGroup, newPeer, testContext } from '../verifier/support/swarm.ts';
import { attack, type Scene } from './support.ts';

/** A peer that has passed probation (2 groups in the tests' recipe). */
async function established(scene: Scene): Promise<KeyPair> {
  const peer = newPeer();
  const groups = [0, 1].map((slot) => makeGroup(scene.context, peer, slot));
  assert.deepEqual(await scene.judge(...groups), ['accept', 'accept']);
  assert.equal(scene.verifier.standing.isNewcomer(peer.peerIdString), false);
  return peer;
}

const KEYS = 60;
const LIMITS: WaitingLimits = { maxGroups: 16, maxTokens: 1e9 };
const garbage = scriptedPolicy('garbage');
const garbageOf = (scene: Scene, peer: KeyPair): MadeGroup => makeGroup(scene.context, peer, 0, 0, { policy: garbage });

attack('garbage groups from ever new keys: at most half of each replay is theirs', async (scene) => {
  const peer = await established(scene);
  const gate = Promise.withResolvers<void>();
  scene.engine.beforeReplay = () => gate.promise;
  // Twice what one replay holds (256 sequences).
  const sybils = Array.from({ length: 2 * KEYS }, () => garbageOf(scene, newPeer()));
  for (const group of sybils) await scene.announce(group);
  await scene.settle();
  // The first of them are being replayed; the honest groups come last, behind all the others.
  const honest = [2, 3, 4].map((slot) => makeGroup(scene.context, peer, slot));
  for (const group of honest) await scene.announce(group);
  await scene.settle();
  const before = scene.engine.replays.length;
  let replays = 0;
  scene.engine.beforeReplay = () => {
    replays++;
    if (replays === 2)
      assert.deepEqual(honest.map(scene.verdictOn), ['accept', 'accept', 'accept'], 'not behind the crowd');
  };
  gate.resolve();
  await scene.settle();
  assert.ok(scene.engine.replays.length > before);
  assert.deepEqual(honest.map(scene.verdictOn), ['accept', 'accept', 'accept']);
  for (const group of sybils) assert.match(scene.verdictOn(group)!, /^reject/);
});

attack('bodies that never come, from ever new keys: who has a standing does not wait for them', async (scene) => {
  const peer = await established(scene);
  const sybils = Array.from({ length: KEYS }, () => makeGroup(scene.context, newPeer(), 0));
  for (const group of sybils) await scene.announce(group, { withBody: false });
  await scene.settle();
  const honest = makeGroup(scene.context, peer, 2);
  assert.deepEqual(await scene.judge(honest), ['accept'], 'at once, though all places of newcomers are taken');
  // Eight newcomers are looked for at a time, 30 s each: then it is everybody's turn.
  for (let i = 0; i <= KEYS / 8; i++) await scene.settle(31_000);
  assert.deepEqual(new Set(sybils.map(scene.verdictOn)), new Set(['ignore BODY_MISSING']));
});

attack(
  'more garbage from ever new keys than can wait: only the crowd is given up, and what is due is never accepted unchecked',
  async (scene) => {
    const peer = await established(scene);
    const gate = Promise.withResolvers<void>();
    scene.engine.beforeReplay = () => gate.promise;
    const sybils = Array.from({ length: 3 * LIMITS.maxGroups }, () => garbageOf(scene, newPeer()));
    const honest = Array.from({ length: LIMITS.maxGroups / 2 - 1 }, (_, i) => makeGroup(scene.context, peer, 2 + i));
    for (const group of [...sybils.slice(0, 40), ...honest, ...sybils.slice(40)]) {
      await scene.announce(group);
      await scene.settle();
    }
    assert.deepEqual(new Set(honest.map(scene.verdictOn)), new Set([null]));
    gate.resolve();
    for (let i = 0; i < 4; i++) await scene.settle();
    assert.deepEqual(new Set(honest.map(scene.verdictOn)), new Set(['accept']));
    const verdicts = sybils.map((group) => scene.verdictOn(group)!);
    assert.ok(verdicts.every((verdict) => verdict === 'ignore NOT_CHECKED' || verdict.startsWith('reject ')));
    assert.ok(scene.verifier.stats().notChecked > LIMITS.maxGroups);
  },
  testContext(),
  { waitingLimits: LIMITS },
);

/** A group whose body is bytes that are none. */
function nothingOf(scene: Scene, peer: KeyPair, bytes: Uint8Array): MadeGroup {
  const group = makeGroup(scene.context, peer, 0);
  const announcement = { ...group.announcement, bodyHash: sha256(bytes), bodyBytes: bytes.length };
  return { ...group, bytes, message: signAs(peer, 'group', encodeGroup(announcement)) };
}

attack('megabytes that are no body: each costs its key, none is kept', async (scene) => {
  for (let i = 0; i < 4; i++) {
    const peer = newPeer();
    const group = nothingOf(scene, peer, new Uint8Array(randomBytes(2 ** 22)));
    assert.deepEqual(await scene.judge(group), ['reject BODY_MALFORMED']);
    assert.ok(scene.verifier.standing.isQuarantined(peer.peerIdString, 0));
    assert.equal(await scene.store.has(toHex(sha256(group.bytes))), false);
  }
});
