// The author's word: after two manifests of one step, and for keys that are revoked. The pure rules in every order of
// arrival, then the chain of a member that hears it, and that starts again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, sha256, toHex } from '../../node/protocol/bytes.ts';
import { type Continuation, encodeContinuation } from '../../node/protocol/continuation.ts';
import { createKeyPair } from '../../node/protocol/keys.ts';
import { encodeManifest, type Manifest } from '../../node/protocol/manifest.ts';
import { createPolicyChain, type PolicyChainService } from '../../shardcast/chain.ts';
import { type ChainEntry, createChainState } from '../../shardcast/chain-state.ts';
import { createShardFetcher } from '../../shardcast/fetch.ts';
import { createPolicyFolders } from '../../shardcast/policies.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { memoryFetcher } from '../support/memory-fetcher.ts';
import { type MemoryInbox, memoryInbox, signAs } from '../support/memory-inbox.ts';
import { memoryBlobs } from '../support/memory-store.ts';
import { chainRecipe, policyAt, TEXTS } from '../support/policies.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';
import { tempDir } from '../support/temp-dir.ts';

const AUTHOR = createKeyPair();
const [OLD, NEW] = [createKeyPair(), createKeyPair()];
const RECIPE = chainRecipe([toHex(OLD.publicKey), toHex(NEW.publicKey)], 5, toHex(AUTHOR.publicKey));
const hash = (text: string): Uint8Array => sha256(`policy ${text}`);

/** `1a` is of step 1; its parent is `0a` unless told otherwise. */
function manifest(name: string, parent: string | null, timeMs = 0): Manifest {
  return {
    recipeId: RECIPE.recipeId,
    policyStep: Number(name[0]),
    policyRoot: name === '0a' ? fromHex(policyAt(0).root) : hash(name),
    parentRoot: parent === null ? null : parent === '0a' ? fromHex(policyAt(0).root) : hash(parent),
    timeMs,
    full: { sizeBytes: policyAt(0).weights.length, shardBytes: 1 << 20, shardHashes: [hash(`shard of ${name}`)] },
    admission: { wantGroups: 1, activePeers: 1 },
    record: null,
    closing: false,
    config: { hash: sha256(TEXTS.config), sizeBytes: TEXTS.config.length },
    tokenizer: { hash: sha256(TEXTS.tokenizer), sizeBytes: TEXTS.tokenizer.length },
    tokenizerConfig: { hash: sha256(TEXTS.tokenizerConfig), sizeBytes: TEXTS.tokenizerConfig.length },
  };
}

function entry(made: Manifest, by = OLD): ChainEntry {
  const policyRoot = toHex(made.policyRoot);
  const signerKey = toHex(by.publicKey);
  return { manifestId: policyRoot, signer: by.peerIdString, signerKey, manifest: made, policyRoot };
}

function word(name: string, change: Partial<Continuation> = {}): Continuation {
  const { recipeId, policyStep, policyRoot } = manifest(name, null);
  return { recipeId, policyStep, policyRoot, trainerKey: OLD.publicKey, revokedKeys: [], timeMs: 1, ...change };
}

function permutations<T>(items: readonly T[]): readonly (readonly T[])[] {
  if (items.length <= 1) return [items];
  return items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]));
}

/** What is followed when these come in this order, what was refused being looked at again as inboxes do. */
function followedAfter(order: readonly (ChainEntry | Continuation)[]): readonly string[] {
  const state = createChainState();
  const seen: ChainEntry[] = [];
  for (const each of order) {
    if ('manifest' in each) seen.push(each);
    else state.continueWith(each);
    for (let round = 0; round < seen.length; round++) for (const one of seen) state.add(one);
  }
  while (state.jump());
  return state.newestFirst().map(({ policyRoot }) => policyRoot);
}

const roots = (...names: readonly string[]): readonly string[] =>
  names.map((name) => toHex(manifest(name, null).policyRoot));

test('whatever comes first: the branch that the author names is followed, and no other', () => {
  const [zero, oneA, oneB] = [manifest('0a', null), manifest('1a', '0a'), manifest('1b', '0a')].map((m) => entry(m));
  const twoB = entry(manifest('2b', '1b'));
  for (const order of permutations([zero!, oneA!, oneB!, twoB, word('1b')])) {
    const found = followedAfter(order);
    const names = order.map((each) => ('manifest' in each ? each.policyRoot.slice(0, 4) : 'word')).join(' ');
    assert.deepEqual(found, roots('2b', '1b', '0a'), names);
  }
});

test('without a word a fork ends the chain, whatever comes first', () => {
  const all = [manifest('0a', null), manifest('1a', '0a'), manifest('1b', '0a')].map((m) => entry(m));
  for (const order of permutations(all)) assert.deepEqual(followedAfter(order), roots('0a'));
});

test('a revoked key signs nothing from that step on but what the author named; others go on', () => {
  const zero = entry(manifest('0a', null));
  const one = entry(manifest('1a', '0a'));
  const [twoOld, twoNew] = [entry(manifest('2a', '1a')), entry(manifest('2b', '1a'), NEW)];
  const revoking = word('1a', { revokedKeys: [NEW.publicKey] });
  assert.deepEqual(followedAfter([zero, one, twoNew, revoking, twoOld]), roots('2a', '1a', '0a'));
  const byOther = entry(manifest('1a', '0a'), NEW);
  const revokingOld = word('1a', { trainerKey: NEW.publicKey, revokedKeys: [OLD.publicKey] });
  assert.deepEqual(followedAfter([zero, byOther, twoOld, revokingOld, twoNew]), roots('2b', '1a', '0a'));
  const state = createChainState();
  state.continueWith(revokingOld);
  assert.deepEqual(state.judge(twoOld.manifest, toHex(OLD.publicKey)), { answer: 'ignore', code: 'NOT_A_TRAINER' });
  assert.equal(state.judge(manifest('0a', null), toHex(OLD.publicKey)).answer, 'accept', 'steps before stay its own');
});

test('of several words on a step the latest counts, and a later fork ends the chain again', () => {
  const all = [manifest('0a', null), manifest('1a', '0a'), manifest('1b', '0a')].map((m) => entry(m));
  const [first, second] = [word('1a', { timeMs: 5 }), word('1b', { timeMs: 9 })];
  assert.deepEqual(followedAfter([...all, first, second]), roots('1b', '0a'));
  assert.deepEqual(followedAfter([...all, second, first]), roots('1b', '0a'), 'an older word changes nothing');
  const later = [manifest('2c', '1b'), manifest('2d', '1b')].map((m) => entry(m));
  assert.deepEqual(followedAfter([...all, second, ...later]), roots('1b', '0a'));
});

test('what lies before the step of a word is settled: a second root there ends nothing', () => {
  const all = [manifest('0a', null), manifest('1a', '0a'), manifest('2a', '1a')].map((m) => entry(m));
  const late = entry(manifest('1b', '0a'));
  assert.deepEqual(followedAfter([...all, word('2a'), late]), roots('2a', '1a', '0a'));
  assert.deepEqual(followedAfter([...all, late]), roots('0a'));
});

interface Member {
  readonly chain: PolicyChainService;
  readonly inbox: MemoryInbox;
  readonly disk: NonNullable<Parameters<typeof memoryInbox>[1]>;
}

async function startMember(disk: Member['disk'] = []): Promise<Member> {
  const endings: (() => Promise<void>)[] = [];
  const dir = await tempDir({ after: (end) => void endings.push(end) });
  const inbox = memoryInbox(createKeyPair(), disk);
  const blobs = memoryBlobs();
  const [clock, fetcher] = [fakeClock(), memoryFetcher(blobs)];
  const components = { inbox, blobs, fetcher, clock, logger };
  const chain = createPolicyChain(
    { ...components, policies: createPolicyFolders(dir), shards: createShardFetcher(components) },
    { recipe: RECIPE, texts: TEXTS },
  );
  inbox.stageZero.manifest = chain.stageZero;
  inbox.stageZero.continuation = chain.continuationStageZero;
  await chain.start();
  const stop = chain.stop.bind(chain);
  return { chain: { ...chain, stop: () => stop().then(() => endings[0]!()) }, inbox, disk };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('a member takes up the branch that was named from what it keeps, and again after a restart', async () => {
  const { chain, inbox, disk } = await startMember();
  const scope = RECIPE.recipeIdHex;
  const say = (made: Manifest) => inbox.deliver(signAs(OLD, 'manifest', encodeManifest(made)), scope);
  for (const made of [manifest('0a', null), manifest('1a', '0a'), manifest('1b', '0a')]) {
    assert.equal((await say(made)).answer, 'accept');
  }
  assert.equal(chain.announced()?.policyStep, 0);
  assert.deepEqual(chain.status().equivocation, { policyStep: 1, policyRoots: roots('1a', '1b') });
  await inbox.deliver(signAs(AUTHOR, 'continuation', encodeContinuation(word('1b'))), scope);
  await settled();
  assert.equal(chain.announced()?.policyRoot, roots('1b')[0]);
  assert.deepEqual(chain.status().equivocation, null);
  assert.deepEqual(chain.status().continuation, { policyStep: 1, policyRoot: roots('1b')[0], revokedKeys: [] });
  assert.deepEqual(await say(manifest('1a', '0a', 9)), { answer: 'ignore', code: 'EQUIVOCATION' });
  assert.equal((await say(manifest('2b', '1b'))).answer, 'accept');
  assert.equal(chain.announced()?.policyStep, 2);
  await chain.stop();
  const again = await startMember(disk);
  assert.deepEqual(
    [1, 2].map((step) => again.chain.at(step)?.policyRoot),
    roots('1b', '2b'),
  );
  await again.chain.stop();
});

test('only the author speaks, of this recipe, for a trainer that it names, and forward in time', async () => {
  const { chain, inbox } = await startMember();
  const scope = RECIPE.recipeIdHex;
  const say = (by: typeof AUTHOR, said: Continuation) =>
    inbox.deliver(signAs(by, 'continuation', encodeContinuation(said)), scope);
  assert.deepEqual(await say(OLD, word('1a')), { answer: 'ignore', code: 'NOT_THE_AUTHOR' });
  const stranger = word('1a', { trainerKey: AUTHOR.publicKey });
  assert.deepEqual(await say(AUTHOR, stranger), { answer: 'ignore', code: 'NOT_A_TRAINER' });
  const elsewhere = word('1a', { recipeId: hash('another recipe') });
  assert.deepEqual(await say(AUTHOR, elsewhere), { answer: 'ignore', code: 'UNKNOWN_RECIPE' });
  assert.equal((await say(AUTHOR, word('1a', { timeMs: 7 }))).answer, 'accept');
  assert.deepEqual(await say(AUTHOR, word('1b', { timeMs: 6 })), { answer: 'ignore', code: 'DUPLICATE' });
  assert.deepEqual(await inbox.deliver(signAs(AUTHOR, 'continuation', Uint8Array.of(255)), scope), {
    answer: 'reject',
    code: 'MALFORMED',
  });
  assert.throws(() => encodeContinuation(word('1a', { revokedKeys: [OLD.publicKey] })), { code: 'MALFORMED' });
  await chain.stop();
});
