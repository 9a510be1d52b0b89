// A liar with any number of keys tries to use up the verifier: garbage from ever new keys, bodies that never come, bodies of
// megabytes of nothing. Whoever has earned a standing is judged meanwhile; a liar pays a key for each try.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { maxBodyBytes } from '../../node/protocol/body.ts';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { encodeGroup } from '../../node/protocol/group.ts';
import type { KeyPair } from '../../node/protocol/keys.ts';
import { MAX_PROMPT_TOKENS } from '../../node/protocol/limits.ts';
import type { WaitingLimits } from '../../verifier/giving-up.ts';
import { MAX_REFUSED_BYTES } from '../../verifier/refused-bodies.ts';
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

attack(
  'bytes that are no body: each costs its key, none is kept; megabytes of them are not asked for',
  async (scene) => {
    for (let i = 0; i < 4; i++) {
      const peer = newPeer();
      const megabytes = nothingOf(scene, peer, new Uint8Array(randomBytes(2 ** 20)));
      assert.deepEqual(await scene.announce(megabytes), {
        answer: 'ignore',
        code: 'SIZE_MISMATCH',
        evidence: { measured: 2 ** 20, limit: maxBodyBytes(megabytes.announcement.lengths) },
      });
      const group = nothingOf(scene, peer, new Uint8Array(randomBytes(300_000)));
      assert.deepEqual(await scene.judge(group), ['reject BODY_MALFORMED']);
      assert.ok(scene.verifier.standing.isQuarantined(peer.peerIdString, 0));
      assert.equal(await scene.store.has(toHex(sha256(group.bytes))), false);
    }
  },
);

attack(
  'false bodies as large as they may be, from ever new keys: the newest are kept, 64 MiB of them',
  async (scene) => {
    // An honest group waits for the one before it while a liar names its body.
    const honest = newPeer();
    const [first, second] = [0, 1].map((slot) => makeGroup(scene.context, honest, slot));
    await scene.announce(second!);
    const { bodyHash, bodyBytes, lengths, rewards } = second!.announcement;
    const copied = makeGroup(scene.context, scene.liar, 0, 0, {
      announcement: (announcement) => ({ ...announcement, bodyHash, bodyBytes, lengths, rewards }),
    });
    assert.deepEqual(await scene.judge(copied, first!), ['reject PROMPT_MISMATCH', 'accept']);
    assert.equal(scene.verdictOn(second!), 'accept');
    // Another is announced only after a liar was rejected with its body.
    const third = makeGroup(scene.context, honest, 2);
    await scene.give(third);
    const { bodyHash: later, ...rest } = third.announcement;
    const before = makeGroup(scene.context, newPeer(), 0, 0, {
      announcement: (announcement) => ({
        ...announcement,
        ...{ bodyHash: later, bodyBytes: rest.bodyBytes, lengths: rest.lengths, rewards: rest.rewards },
      }),
    });
    assert.deepEqual(await scene.judge(before, third), ['reject PROMPT_MISMATCH', 'accept']);
    const prompt = new Uint32Array(MAX_PROMPT_TOKENS).fill(2 ** 28);
    const keys = 210;
    const hashes: string[] = [];
    for (let i = 0; i < keys; i++) {
      const other = prompt.slice();
      other[0] = i;
      const group = makeGroup(scene.context, newPeer(), 0, 0, { body: (body) => ({ ...body, prompt: other }) });
      assert.ok(group.bytes.length * keys > MAX_REFUSED_BYTES);
      assert.deepEqual(await scene.judge(group), ['reject PROMPT_MISMATCH']);
      hashes.push(toHex(group.announcement.bodyHash));
    }
    let kept = 0;
    for await (const { sizeBytes } of scene.store.list()) kept += sizeBytes;
    kept -= bodyBytes + first!.announcement.bodyBytes + rest.bodyBytes;
    assert.ok(kept <= MAX_REFUSED_BYTES && kept > MAX_REFUSED_BYTES / 2, `${kept} bytes kept`);
    assert.equal(await scene.store.has(hashes[0]!), false);
    for (const hash of [bodyHash, later])
      assert.equal(await scene.store.has(toHex(hash)), true, 'its group was accepted');
    assert.equal(await scene.store.has(hashes.at(-1)!), true, 'for whoever wants to look');
  },
);

attack(
  'pairs of announcements for one slot whose second body nobody has: one is looked into at a time, and no first body is read',
  async (scene) => {
    const { liar, fetcher } = scene;
    const asked: string[] = [];
    let [running, most] = [0, 0];
    const { fetch } = fetcher;
    fetcher.fetch = async (hashHex, options) => {
      asked.push(hashHex);
      most = Math.max(most, ++running);
      return fetch(hashHex, options).finally(() => running--);
    };
    const second = (slot: number): MadeGroup => {
      const group = makeGroup(scene.context, liar, slot);
      const payload = encodeGroup({ ...group.announcement, bodyHash: sha256(`nowhere ${slot}`) });
      return { ...group, message: signAs(liar, 'group', payload) };
    };
    // Slot 0 is left out, so that nothing of the liar is ever judged.
    const pairs = Array.from({ length: 20 }, (_, i) => [makeGroup(scene.context, liar, i + 1), second(i + 1)] as const);
    for (const [one, two] of pairs) {
      await scene.announce(one);
      await scene.announce(two, { withBody: false });
    }
    await scene.settle();
    assert.equal(most, 1);
    const left = pairs.filter(([, two]) => scene.verdictOn(two) === 'ignore SLOT_SEEN');
    assert.equal(left.length, pairs.length - 5, 'one is looked into and four wait');
    for (let i = 0; i < 6; i++) await scene.settle(31_000);
    assert.equal(most, 1);
    for (const [one] of pairs) assert.equal(asked.includes(toHex(one.announcement.bodyHash)), false);
  },
);

attack('a body named by the hash of a shard that is here: the shard is not read, and stays', async (scene) => {
  const shard = new Uint8Array(randomBytes(2 ** 20));
  const hashHex = await scene.store.put(shard);
  const { announcement } = makeGroup(scene.context, scene.liar, 0);
  const group = { ...nothingOf(scene, scene.liar, shard), bytes: shard };
  const payload = encodeGroup({ ...announcement, bodyHash: sha256(shard) });
  const named = { ...group, message: signAs(scene.liar, 'group', payload) };
  await scene.announce(named, { withBody: false });
  await scene.settle();
  assert.equal(scene.verdictOn(named), 'reject SIZE_MISMATCH');
  assert.equal(await scene.store.has(hashHex), true);
});

attack('the body of an honest group, named with another size while it is fetched: it stays', async (scene) => {
  const { liar, fetcher } = scene;
  const gate = Promise.withResolvers<void>();
  const { fetch } = fetcher;
  fetcher.fetch = (hashHex, options) => gate.promise.then(() => fetch(hashHex, options));
  const honest = makeGroup(scene.context, newPeer(), 0);
  const { bodyHash, bodyBytes } = honest.announcement;
  const named = makeGroup(scene.context, liar, 0, 0, {
    announcement: (announcement) => ({ ...announcement, bodyHash, bodyBytes: bodyBytes + 1 }),
  });
  await scene.announce(honest);
  await scene.announce(named);
  gate.resolve();
  await scene.settle();
  assert.deepEqual([honest, named].map(scene.verdictOn), ['accept', 'reject SIZE_MISMATCH']);
  assert.equal(await scene.store.has(toHex(bodyHash)), true);
});
