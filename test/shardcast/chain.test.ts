// The chain of policies end to end in memory: a trainer publishes, members fetch, check, keep and delete.

import assert from 'node:assert/strict';
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromHex, sha256, toHex } from '../../node/protocol/bytes.ts';
import { createKeyPair } from '../../node/protocol/keys.ts';
import { decodeManifest, encodeManifest, type Manifest } from '../../node/protocol/manifest.ts';
import type { SignedMessage } from '../../node/protocol/ports.ts';
import { createPolicyChain } from '../../shardcast/chain.ts';
import { createShardFetcher } from '../../shardcast/fetch.ts';
import { createPolicyFolders } from '../../shardcast/policies.ts';
import { memoryInbox, signAs } from '../support/memory-inbox.ts';
import { policyAt, TEXTS } from '../support/policies.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';
import { until } from '../support/until.ts';
import { joined, member, SHARD_BYTES, swarm } from './members.ts';

function manifestOf(message: SignedMessage): Manifest {
  return decodeManifest(message.payload);
}

test('what a trainer publishes is ready at once on its own machine, and whole on another', async (t) => {
  const s = await swarm(t);
  const node = await joined(t, s);
  await s.publish(0);
  assert.equal(s.trainer.chain.ready()?.policyRoot, policyAt(0).root);
  await s.publish(1);
  assert.equal(s.trainer.chain.ready()?.policyStep, 1);
  assert.equal(s.trainer.fetcher.asked.length, 0);
  await until(() => node.chain.ready()?.policyStep === 1, 'the node has step 1');
  const files = await node.chain.files(policyAt(1).root);
  assert.ok((await readFile(files!.weightsFile)).equals(policyAt(1).weights));
  assert.deepEqual((await readdir(join(node.dir, policyAt(1).root))).sort(), [
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  assert.deepEqual(node.chain.ready(), {
    policyStep: 1,
    policyRoot: policyAt(1).root,
    manifestId: s.trainer.inbox.published[1]!.idHex,
    wantGroups: 11,
    activePeers: 2,
    closing: false,
  });
});

test('weights that did not change are not published; a repeated root is refused', async (t) => {
  const s = await swarm(t);
  const node = await joined(t, s);
  await s.publish(0);
  const same = await s.publisher.publish({
    policyStep: 1,
    parentRoot: policyAt(0).root,
    weights: policyAt(0).weights,
    admission: { wantGroups: 1, activePeers: 1 },
    record: null,
  });
  assert.equal(same, null);
  assert.equal(s.trainer.inbox.published.length, 1);
  await s.publish(1);
  const [first, second] = s.trainer.inbox.published.map(manifestOf);
  const repeated = { ...second!, policyStep: 2, policyRoot: first!.policyRoot, parentRoot: second!.policyRoot };
  const answer = await node.inbox.deliver(
    signAs(s.keyPair, 'manifest', encodeManifest(repeated)),
    s.recipe.recipeIdHex,
  );
  assert.deepEqual(answer, { answer: 'ignore', code: 'ROOT_REPEATED' });
});

test('a new admission for the same policy is taken in; closing too', async (t) => {
  const s = await swarm(t);
  await s.publish(0);
  await s.publisher.announce({ admission: { wantGroups: 99, activePeers: 3 } });
  assert.equal(s.trainer.chain.ready()?.wantGroups, 99);
  await s.publisher.announce({ closing: true });
  assert.equal(s.trainer.chain.ready()?.closing, true);
  assert.equal(s.trainer.chain.ready()?.wantGroups, 99);
});

test('of a policy that was announced again one manifest is kept: who joins late, and who starts again, has the chain whole', async (t) => {
  const s = await swarm(t);
  for (const n of [0, 1, 2]) {
    await s.publish(n);
    for (const wantGroups of [50 + n, 90 + n]) {
      await s.publisher.announce({ admission: { wantGroups, activePeers: 3 } });
    }
  }
  const scope = s.recipe.recipeIdHex;
  const kept: SignedMessage[] = [];
  for await (const message of s.trainer.inbox.stored('manifest', scope)) kept.push(message);
  assert.deepEqual(
    kept.map(({ idHex }) => idHex),
    [2, 5, 8].map((i) => s.trainer.inbox.published[i]!.idHex),
  );
  const late = await joined(t, s);
  for (const message of kept) assert.equal((await late.inbox.deliver(message, scope)).answer, 'accept');
  const { inbox, blobs, dir, clock, fetcher } = s.trainer;
  await s.trainer.chain.stop();
  const shards = createShardFetcher({ fetcher, blobs, clock, logger });
  const again = createPolicyChain(
    { inbox, blobs, fetcher, shards, policies: createPolicyFolders(dir), clock, logger },
    { recipe: s.recipe },
  );
  await again.start();
  t.after(() => again.stop());
  for (const chain of [late.chain, again]) {
    assert.deepEqual(
      [0, 1, 2].map((step) => chain.at(step)?.wantGroups),
      [90, 91, 92],
    );
  }
});

test('a start deletes what earlier versions kept of one policy, whatever their order', async (t) => {
  const s = await swarm(t);
  await s.publish(0);
  const manifest = manifestOf(s.trainer.inbox.published[0]!);
  const disk = [5, 1, 9, 3].map((later) => {
    const payload = encodeManifest({ ...manifest, timeMs: manifest.timeMs + later });
    return { message: signAs(s.keyPair, 'manifest', payload), scope: s.recipe.recipeIdHex };
  });
  const node = await member(t, { recipe: s.recipe }, memoryInbox(createKeyPair(), disk));
  assert.deepEqual(
    disk.map(({ message }) => manifestOf(message).timeMs - manifest.timeMs),
    [9],
  );
  assert.equal(node.chain.announced()?.manifestId, disk[0]!.message.idHex);
});

test('manifests of strangers and of another size are ignored before anything is allocated', async (t) => {
  const s = await swarm(t);
  await s.publish(0);
  const node = await joined(t, s);
  const manifest = manifestOf(s.trainer.inbox.published[0]!);
  const scope = s.recipe.recipeIdHex;
  const stranger = signAs(createKeyPair(), 'manifest', encodeManifest(manifest));
  assert.deepEqual(await node.inbox.deliver(stranger, scope), { answer: 'ignore', code: 'NOT_A_TRAINER' });
  await node.inbox.deliver(s.trainer.inbox.published[0]!, scope);
  await until(() => node.chain.ready() !== null, 'the node has step 0');
  const large = {
    ...manifest,
    policyStep: 1,
    policyRoot: sha256('large'),
    parentRoot: manifest.policyRoot,
    full: { sizeBytes: 1e9, shardBytes: 1e9 / 20, shardHashes: Array.from({ length: 20 }, (_, i) => sha256(`${i}`)) },
  };
  const answer = await node.inbox.deliver(signAs(s.keyPair, 'manifest', encodeManifest(large)), scope);
  assert.equal(answer.answer === 'ignore' && answer.code, 'SIZE_MISMATCH');
});

test('two roots for one step: both are passed on, neither is followed, nor what comes after', async (t) => {
  const s = await swarm(t);
  const node = await joined(t, s);
  for (const n of [0, 1, 2]) await s.publish(n);
  await until(() => node.chain.ready()?.policyStep === 2, 'the node has step 2');
  const manifest = manifestOf(s.trainer.inbox.published[1]!);
  const other = { ...manifest, policyRoot: sha256('another') };
  const scope = s.recipe.recipeIdHex;
  const answer = await node.inbox.deliver(signAs(s.keyPair, 'manifest', encodeManifest(other)), scope);
  assert.equal(answer.answer, 'accept');
  assert.deepEqual(node.chain.status().equivocation, {
    policyStep: 1,
    policyRoots: [policyAt(1).root, toHex(sha256('another'))],
  });
  assert.equal(node.chain.announced()?.policyStep, 0);
  assert.equal(node.chain.ready()?.policyStep, 0);
  assert.equal(node.chain.at(1), null);
  const third = { ...manifest, policyRoot: sha256('a third') };
  const refused = await node.inbox.deliver(signAs(s.keyPair, 'manifest', encodeManifest(third)), scope);
  assert.deepEqual(refused, { answer: 'ignore', code: 'EQUIVOCATION' });
});

test('a late joiner starts from the newest manifest it gets and links the older ones behind it', async (t) => {
  const s = await swarm(t);
  for (const n of [0, 1, 2, 3]) await s.publish(n);
  const node = await joined(t, s);
  const scope = s.recipe.recipeIdHex;
  const [, one, two, three] = s.trainer.inbox.published;
  for (const message of [three!, one!, two!]) assert.equal((await node.inbox.deliver(message, scope)).answer, 'accept');
  assert.deepEqual(
    [0, 1, 2, 3].map((step) => node.chain.at(step)?.policyRoot ?? null),
    [null, policyAt(1).root, policyAt(2).root, policyAt(3).root],
  );
  await until(() => node.ready.length === 3, 'all three policies came');
  assert.equal(node.ready[0]!.policyStep, 3, 'the newest first');
});

test('a policy that nobody keeps any more is not waited for: a late joiner that heard of it first goes on', async (t) => {
  const s = await swarm(t, 2);
  for (const n of [0, 1, 2, 3]) await s.publish(n);
  const node = await joined(t, s, { follow: 'newest', texts: TEXTS });
  const scope = s.recipe.recipeIdHex;
  const [zero, one, two, three] = s.trainer.inbox.published;
  await until(() => !s.trainer.policies.has(policyAt(0).root), 'the trainer deleted step 0');
  await node.inbox.deliver(zero!, scope);
  await node.clock.advance(30_000);
  assert.equal(node.chain.status().fetching, policyAt(0).root);
  for (const message of [one!, two!, three!]) await node.inbox.deliver(message, scope);
  await until(() => node.chain.ready()?.policyStep === 3, 'step 3');
});

test('a manifest behind a gap waits for the ones between, and is followed when they are not available', async (t) => {
  const s = await swarm(t);
  for (const n of [0, 1, 2, 3]) await s.publish(n);
  const node = await joined(t, s, { gapPatienceMs: 5_000 });
  const scope = s.recipe.recipeIdHex;
  const [zero, , , three] = s.trainer.inbox.published;
  await node.inbox.deliver(zero!, scope);
  await until(() => node.chain.ready()?.policyStep === 0, 'step 0');
  let looksAgain = 0;
  node.inbox.reconsider = async () => ++looksAgain;
  await node.inbox.deliver(three!, scope);
  await node.clock.advance(4_000);
  assert.equal(node.chain.announced()?.policyStep, 0);
  assert.equal(looksAgain, 0);
  await node.clock.advance(2_000);
  await until(() => node.chain.ready()?.policyStep === 3, 'step 3');
  assert.equal(looksAgain, 1, 'groups of step 3 may wait');
});

test('a manifest of another branch than the followed chain is not followed', async (t) => {
  const s = await swarm(t);
  const node = await joined(t, s);
  await s.publish(0);
  await s.publish(1);
  const manifest = manifestOf(s.trainer.inbox.published[1]!);
  const foreign = { ...manifest, policyStep: 2, policyRoot: sha256('two'), parentRoot: sha256('another one') };
  const answer = await node.inbox.deliver(signAs(s.keyPair, 'manifest', encodeManifest(foreign)), s.recipe.recipeIdHex);
  assert.deepEqual(answer, { answer: 'ignore', code: 'PARENT_UNKNOWN' });
  assert.equal(node.chain.announced()?.policyStep, 1);
});

test('only the last policies and their shards are kept, also by the trainer', async (t) => {
  const s = await swarm(t, 2);
  const node = await joined(t, s);
  for (const n of [0, 1, 2, 3]) await s.publish(n);
  const kept = [policyAt(2).root, policyAt(3).root].sort();
  const old = manifestOf(s.trainer.inbox.published[0]!).full.shardHashes.map(toHex);
  const needed = new Set(manifestOf(s.trainer.inbox.published[3]!).full.shardHashes.map(toHex));
  for (const each of [s.trainer, node]) {
    await until(() => each.chain.ready()?.policyStep === 3, 'step 3');
    await until(() => each.policies.roots().length === 2, 'two are left');
    for (let i = 0; i < 400 && (await readdir(each.dir)).length > 2; i++) await new Promise((r) => setTimeout(r, 5));
    assert.deepEqual((await readdir(each.dir)).sort(), kept);
    await new Promise((resolve) => setImmediate(resolve));
    for (const hash of old) assert.equal(await each.blobs.has(hash), needed.has(hash), 'shards that others share stay');
  }
});

test('weights with another root than their manifest says are refused, and the chain goes on', async (t) => {
  const s = await swarm(t);
  const node = await joined(t, s);
  await s.publish(0);
  await s.publish(1);
  await until(() => node.chain.ready()?.policyStep === 1, 'step 1');
  const manifest = manifestOf(s.trainer.inbox.published[1]!);
  const wrong = { ...manifest, policyStep: 2, policyRoot: sha256('claimed'), parentRoot: fromHex(policyAt(1).root) };
  await node.inbox.deliver(signAs(s.keyPair, 'manifest', encodeManifest(wrong)), s.recipe.recipeIdHex);
  await until(() => node.chain.status().problem?.code === 'ROOT_MISMATCH', 'refused');
  assert.equal(node.chain.ready()?.policyStep, 1);
  assert.equal(await node.chain.files(toHex(sha256('claimed'))), null);
  await assert.rejects(access(join(node.dir, `${toHex(sha256('claimed'))}.tmp`)));
});

test('non-finite weights are refused', async (t) => {
  const s = await swarm(t);
  const node = await joined(t, s);
  await s.publish(0);
  const weights = policyAt(1).weights.slice();
  weights.set([0x80, 0x7f], weights.length - 2);
  await s.trainer.blobs.put(weights);
  const manifest = manifestOf(s.trainer.inbox.published[0]!);
  const infinite = {
    ...manifest,
    policyStep: 1,
    policyRoot: sha256('infinite'),
    parentRoot: manifest.policyRoot,
    full: { sizeBytes: weights.length, shardBytes: 1 << 20, shardHashes: [sha256(weights)] },
  };
  await node.inbox.deliver(signAs(s.keyPair, 'manifest', encodeManifest(infinite)), s.recipe.recipeIdHex);
  await until(() => node.chain.status().problem?.code === 'NON_FINITE_WEIGHT', 'refused');
  await assert.rejects(
    s.publisher.publish({
      policyStep: 1,
      parentRoot: policyAt(0).root,
      weights,
      admission: { wantGroups: 1, activePeers: 1 },
      record: null,
    }),
    { code: 'NON_FINITE_WEIGHT' },
  );
});

test('a full disk is named, whole shards stay, and the fetch goes on once there is room', async (t) => {
  const s = await swarm(t);
  await s.publish(0);
  const texts = TEXTS.config.length + TEXTS.tokenizer.length + TEXTS.tokenizerConfig.length;
  const node = await joined(t, s, { retryMs: 1_000 }, texts + SHARD_BYTES + 100);
  await node.inbox.deliver(s.trainer.inbox.published[0]!, s.recipe.recipeIdHex);
  await until(() => node.chain.status().problem?.code === 'DISK_BUDGET', 'the problem is named');
  const hashes = manifestOf(s.trainer.inbox.published[0]!).full.shardHashes.map(toHex);
  const held = (await Promise.all(hashes.map((hash) => node.blobs.has(hash)))).filter((here) => here).length;
  assert.equal(held, 1, 'the shard that fitted is whole on disk');
  assert.equal(node.chain.ready(), null);
});

test('a restarted member has its policies without fetching, and removes what was unfinished', async (t) => {
  const s = await swarm(t);
  await s.publish(0);
  await s.publish(1);
  const { inbox, blobs, dir, clock, fetcher } = s.trainer;
  await s.trainer.chain.stop();
  const policies = createPolicyFolders(dir);
  const shards = createShardFetcher({ fetcher, blobs, clock, logger });
  const again = createPolicyChain({ inbox, blobs, fetcher, shards, policies, clock, logger }, { recipe: s.recipe });
  await again.start();
  t.after(() => again.stop());
  assert.equal(again.ready()?.policyStep, 1);
  assert.equal(again.at(0)?.policyRoot, policyAt(0).root);
});
