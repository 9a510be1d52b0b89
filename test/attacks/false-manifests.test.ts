// Weights that nobody should follow: signed by a stranger, not what their manifest says, two for one step, hanging in the air,
// or old ones again. Real chains, memory ports around them.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import { decodeManifest, encodeManifest, type Manifest } from '../../node/protocol/manifest.ts';
import { createPolicyChain, type PolicyChainService } from '../../shardcast/chain.ts';
import { createShardFetcher } from '../../shardcast/fetch.ts';
import { createPolicyFolders } from '../../shardcast/policies.ts';
import type { ChainRecipe } from '../../shardcast/recipe.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { memoryFetcher } from '../support/memory-fetcher.ts';
import { type MemoryInbox, memoryInbox, signAs } from '../support/memory-inbox.ts';
import { memoryBlobs } from '../support/memory-store.ts';
import { chainRecipe, policyAt, TEXTS } from '../support/policies.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';
import { tempDir } from '../support/temp-dir.ts';

const TRAINER = createKeyPair();
const RECIPE = chainRecipe([toHex(TRAINER.publicKey)]);

interface Scene {
  readonly chain: PolicyChainService;
  readonly inbox: MemoryInbox;
  readonly clock: ReturnType<typeof fakeClock>;
  /** where peers have their shards */
  readonly swarm: ReturnType<typeof memoryBlobs>;
  /** the n-th policy's manifest, its shards to be had */
  manifest(n: number, changed?: Partial<Manifest>): Promise<Manifest>;
  /** delivered as gossip would. @returns `accept`, or answer and code */
  send(manifest: Manifest, signer?: KeyPair): Promise<string>;
  /** until the chain has looked at everything */
  readySteps(step: number): Promise<void>;
}

async function scene(t: TestContext, recipe: ChainRecipe = RECIPE, maxManifestBytes?: number): Promise<Scene> {
  const [own, swarm, clock, inbox] = [memoryBlobs(), memoryBlobs(), fakeClock(), memoryInbox()];
  const fetcher = memoryFetcher(own);
  fetcher.peers.set('somebody', { blobs: swarm });
  const policies = createPolicyFolders(await tempDir(t));
  const shards = createShardFetcher({ fetcher, blobs: own, clock, logger }, {});
  const chain = createPolicyChain(
    { inbox, blobs: own, fetcher, shards, policies, clock, logger },
    { recipe, ...(maxManifestBytes === undefined ? {} : { maxManifestBytes }) },
  );
  inbox.stageZero.manifest = chain.stageZero;
  await chain.start();
  t.after(() => chain.stop());
  const texts = await Promise.all([TEXTS.config, TEXTS.tokenizer, TEXTS.tokenizerConfig].map(refTo));
  async function refTo(bytes: Uint8Array): Promise<{ readonly hash: Uint8Array; readonly sizeBytes: number }> {
    await swarm.put(bytes);
    return { hash: sha256(bytes), sizeBytes: bytes.length };
  }
  return {
    chain,
    inbox,
    clock,
    swarm,
    async manifest(n, changed = {}) {
      const { weights, root } = policyAt(n);
      await swarm.put(weights);
      return {
        recipeId: RECIPE.recipeId,
        policyStep: n,
        policyRoot: new Uint8Array(Buffer.from(root, 'hex')),
        parentRoot: n === 0 ? null : new Uint8Array(Buffer.from(policyAt(n - 1).root, 'hex')),
        timeMs: 1_000 + n,
        full: { sizeBytes: weights.length, shardBytes: weights.length, shardHashes: [sha256(weights)] },
        admission: { wantGroups: 1, activePeers: 1 },
        record: null,
        closing: false,
        config: texts[0]!,
        tokenizer: texts[1]!,
        tokenizerConfig: texts[2]!,
        ...changed,
      };
    },
    async send(manifest, signer = TRAINER) {
      const answer = await inbox.deliver(signAs(signer, 'manifest', encodeManifest(manifest)), RECIPE.recipeIdHex);
      return answer.answer === 'accept' ? 'accept' : `${answer.answer} ${answer.code}`;
    },
    async readySteps(step) {
      for (let i = 0; i < 400 && chain.ready()?.policyStep !== step; i++) await pause();
      assert.equal(chain.ready()?.policyStep, step);
    },
  };
}

/** Policy step, beginning of the root and time of what is stored. */
async function storedManifests({ inbox }: Scene, scope: string = RECIPE.recipeIdHex): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const { payload } of inbox.stored('manifest', scope)) {
    const { policyStep, policyRoot, timeMs } = decodeManifest(payload);
    found.push(`${policyStep} ${toHex(policyRoot).slice(0, 8)} ${timeMs}`);
  }
  return found;
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

async function problemOf(chain: PolicyChainService): Promise<string | undefined> {
  for (let i = 0; i < 400 && chain.status().problem === null; i++) await pause();
  return chain.status().problem?.code;
}

test('weights of somebody whom the recipe does not name', async (t) => {
  const s = await scene(t);
  assert.equal(await s.send(await s.manifest(0), createKeyPair()), 'ignore NOT_A_TRAINER');
  assert.equal(s.chain.announced(), null);
  assert.equal(await s.send(await s.manifest(0)), 'accept');
  await s.readySteps(0);
});

test("a stranger's first policy, with a trainer's signature: step 0 is the recipe's own", async (t) => {
  const s = await scene(t);
  const { policyRoot, full } = await s.manifest(1);
  assert.equal(await s.send(await s.manifest(0, { policyRoot, full })), 'ignore UNKNOWN_ROOT');
});

test('right hashes of wrong weights: refused whole, and the chain goes on behind them', async (t) => {
  const s = await scene(t);
  await s.send(await s.manifest(0));
  await s.readySteps(0);
  const { full } = await s.manifest(2);
  assert.equal(await s.send(await s.manifest(1, { full })), 'accept', 'nobody can tell before the shards are here');
  assert.equal(await problemOf(s.chain), 'ROOT_MISMATCH');
  assert.equal(s.chain.ready()?.policyStep, 0);
  assert.equal(await s.chain.files(policyAt(1).root), null);
  await s.send(await s.manifest(2));
  await s.readySteps(2);
});

test("a file of another size than the recipe's model, before a byte of it is fetched", async (t) => {
  const s = await scene(t);
  await s.send(await s.manifest(0));
  await s.readySteps(0);
  const hashes = Array.from({ length: 1_000 }, () => sha256('shard'));
  const full = { sizeBytes: 1_000 * 2 ** 26, shardBytes: 2 ** 26, shardHashes: hashes };
  assert.equal(await s.send(await s.manifest(1, { full })), 'ignore SIZE_MISMATCH');
});

test('two for one step: both are passed on as evidence, neither is followed, nor what builds on them', async (t) => {
  const s = await scene(t);
  await s.send(await s.manifest(0));
  await s.readySteps(0);
  await s.send(await s.manifest(1));
  await s.readySteps(1);
  const { policyRoot, full } = await s.manifest(3);
  assert.equal(await s.send(await s.manifest(1, { policyRoot, full })), 'accept');
  assert.equal(s.chain.status().equivocation?.policyStep, 1);
  assert.equal(s.chain.announced()?.policyStep, 0);
  assert.equal(await s.send(await s.manifest(2)), 'ignore EQUIVOCATION');
});

test('a parent that does not exist', async (t) => {
  const s = await scene(t);
  await s.send(await s.manifest(0));
  await s.readySteps(0);
  assert.equal(await s.send(await s.manifest(1, { parentRoot: sha256('nobody') })), 'ignore PARENT_UNKNOWN');
  assert.equal(s.chain.announced()?.policyStep, 0);
});

test('an old policy under a new step: its questions would come again', async (t) => {
  const s = await scene(t);
  for (const n of [0, 1, 2]) {
    await s.send(await s.manifest(n));
    await s.readySteps(n);
  }
  const { policyRoot, full } = await s.manifest(1);
  assert.equal(await s.send(await s.manifest(3, { policyRoot, full })), 'ignore ROOT_REPEATED');
  const { policyRoot: parent } = await s.manifest(2);
  assert.equal(await s.send(await s.manifest(3, { policyRoot: parent })), 'reject ROOT_REPEATED');
});

test('a manifest again, as it was', async (t) => {
  const s = await scene(t);
  const first = await s.manifest(0);
  await s.send(first);
  assert.equal(await s.send(first), 'ignore DUPLICATE');
  assert.equal(
    await s.send({ ...first, timeMs: first.timeMs - 1, closing: true }),
    'ignore DUPLICATE',
    'an older word',
  );
});

test('the same policy under ever new times, to fill disks: one is kept, few are passed on, whatever the times are', async (t) => {
  const s = await scene(t);
  const first = await s.manifest(0);
  assert.equal(await s.send(first), 'accept');
  const answers: Record<string, number> = {};
  for (let i = 1; i <= 600; i++) {
    await s.clock.advance(25);
    // 2 s further each time, from long ago: no clock says that it comes too soon, or from the future.
    const answer = await s.send({ ...first, timeMs: first.timeMs + 2_000 * i });
    answers[answer] = (answers[answer] ?? 0) + 1;
    assert.equal((await storedManifests(s)).length, 1);
  }
  // 30 at once, and one each of the 15 s divided by two.
  assert.deepEqual(answers, { accept: 37, 'ignore RATE_LIMITED': 563 });
  assert.equal(await s.send(await s.manifest(1)), 'accept', 'a new step is no update');
  const { policyRoot, full } = await s.manifest(2);
  assert.equal(await s.send(await s.manifest(1, { policyRoot, full })), 'accept', 'nor is evidence');
});

test('policies without end, to fill disks: a recipe’s manifests take so much and no more; updates are still heard', async (t) => {
  const s = await scene(t, RECIPE, 4_000);
  let last: Manifest | null = null;
  let accepted = 0;
  for (let n = 0; n < 20; n++) {
    const manifest = await s.manifest(n);
    const answer = await s.send(manifest);
    if (answer === 'accept') [last, accepted] = [manifest, accepted + 1];
    else assert.equal(answer, 'ignore RATE_LIMITED');
  }
  assert.ok(accepted > 3 && accepted < 12, `${accepted} accepted`);
  assert.equal((await storedManifests(s)).length, accepted);
  await s.clock.advance(60_000);
  assert.equal(await s.send({ ...last!, timeMs: last!.timeMs + 1, closing: true }), 'accept');
  assert.equal((await storedManifests(s)).length, accepted);
});

test('a waiting trainer is heard each time, also when its clock is an hour off or ours is set back', async (t) => {
  const s = await scene(t);
  const first = await s.manifest(0, { timeMs: s.clock.nowMs() + 3_600_000 });
  assert.equal(await s.send(first), 'accept');
  for (let i = 1; i <= 100; i++) {
    await s.clock.advance(3_000);
    assert.equal(await s.send({ ...first, timeMs: first.timeMs + 3_000 * i }), 'accept');
  }
  await s.clock.advance(-3_600_000);
  await s.clock.advance(3_000);
  assert.equal(await s.send({ ...first, timeMs: first.timeMs + 303_000, closing: true }), 'accept');
  assert.equal(s.chain.announced()?.closing, true);
});

test('updates that overtake each other on the way to the disk: the latest stays', async (t) => {
  const s = await scene(t);
  const first = await s.manifest(0);
  await s.send(first);
  // Judged before any of them was stored, as those of one gossip message are.
  s.inbox.stageZero.manifest = () => ({ answer: 'accept' });
  for (const later of [9, 7, 8]) await s.send({ ...first, timeMs: first.timeMs + later });
  assert.deepEqual(await storedManifests(s), [`0 ${policyAt(0).root.slice(0, 8)} ${first.timeMs + 9}`]);
});

test('what is evidence, or may be named by the author, stays beside the latest: other roots, other signers', async (t) => {
  const other = createKeyPair();
  const recipe = chainRecipe([toHex(TRAINER.publicKey), toHex(other.publicKey)]);
  const s = await scene(t, recipe);
  const { recipeId } = recipe;
  const step = async (n: number, changed: Partial<Manifest> = {}) => s.manifest(n, { recipeId, ...changed });
  await s.send(await step(0));
  const one = await step(1);
  for (const [later, signer] of [
    [1, TRAINER],
    [2, other],
    [3, TRAINER],
    [4, other],
  ] as const) {
    assert.equal(await s.send({ ...one, timeMs: 2_000 + later }, signer), 'accept');
  }
  const { policyRoot, full } = await step(3);
  assert.equal(await s.send({ ...one, timeMs: 3_000, policyRoot, full }), 'accept');
  const roots = [0, 1, 3].map((n) => policyAt(n).root.slice(0, 8));
  assert.deepEqual(await storedManifests(s), [
    `0 ${roots[0]} 1000`,
    `1 ${roots[1]} 2003`,
    `1 ${roots[1]} 2004`,
    `1 ${roots[2]} 3000`,
  ]);
});
