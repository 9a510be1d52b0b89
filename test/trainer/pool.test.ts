// The pool alone: bodies come from peers, old ones are deleted, active peers and arrivals are counted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../node/protocol/bytes.ts';
import { decodeGroup } from '../../node/protocol/group.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import type { SignedMessage } from '../../node/protocol/ports.ts';
import type { RecipeSource } from '../../recipes/schema.ts';
import { createLedger } from '../../trainer/ledger.ts';
import { createPool, type Pool } from '../../trainer/pool.ts';
import { createGroupStageZero, createStepPlaces } from '../../verifier/checks/stage-zero.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { memoryFetcher } from '../support/memory-fetcher.ts';
import { memoryBlobs, memoryRecords } from '../support/memory-store.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';
import { type TrainerBench, trainerBench, trainerRecipe, VERIFIER } from '../support/trainer-bench.ts';

const NOTHING = { step: 0, consumed: new Map<string, number>() };

interface Own {
  readonly pool: Pool;
  readonly blobs: ReturnType<typeof memoryBlobs>;
  readonly fetcher: ReturnType<typeof memoryFetcher>;
  readonly clock: ReturnType<typeof fakeClock>;
  readonly made: TrainerBench;
}

/** A pool on the bench's inbox with a blob store of its own; bodies lie at the bench's. */
async function ownPool(acceptance?: RecipeSource, verifiers: readonly KeyPair[] = [VERIFIER]): Promise<Own> {
  const made = trainerBench(
    acceptance === undefined ? {} : { recipe: trainerRecipe({ verification: { acceptance } }) },
  );
  made.disk.chain.set(0);
  const blobs = memoryBlobs();
  const clock = fakeClock();
  const fetcher = memoryFetcher(blobs);
  const ledger = createLedger(memoryRecords(), made.recipe.recipeIdHex);
  const checkBody = () => ({ answer: 'accept' }) as const;
  const pool = createPool(
    { inbox: made.inbox, blobs, fetcher, ledger, clock, logger, checkBody },
    { recipe: made.recipe, verifiers: verifiers.map(({ publicKey }) => toHex(publicKey)) },
    NOTHING,
  );
  await pool.start();
  return { pool, blobs, fetcher, clock, made };
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
const bodyOf = (message: SignedMessage): string => toHex(decodeGroup(message.payload).bodyHash);

test('a body is asked for until a peer has it, and deleted maxLag + 2 steps after the end', async () => {
  const { pool, blobs, fetcher, clock, made } = await ownPool();
  const message = await made.accepted({ peer: createKeyPair(), policyStep: 0, slot: 0 });
  await settle();
  assert.equal(pool.ready().length, 0);
  assert.equal(pool.waiting(), 1);
  fetcher.peers.set(message.peerIdString, { blobs: made.disk.blobs });
  await clock.advance(2_000);
  await settle();
  assert.deepEqual(
    pool.ready().map(({ groupId }) => groupId),
    [message.idHex],
  );
  assert.ok(await blobs.has(bodyOf(message)));
  await pool.expire(3, false);
  assert.deepEqual([pool.ready().length, pool.waiting()], [0, 0], 'left out');
  await pool.expire(2);
  assert.deepEqual([pool.ready().length, pool.waiting()], [1, 1], 'and not ended');
  await pool.expire(3);
  assert.equal(pool.ready().length, 0, 'stale: three steps old, two are allowed');
  for (const [step, here] of [
    [7, true],
    [8, false],
  ] as const) {
    await pool.expire(step);
    assert.equal(await blobs.has(bodyOf(message)), here, `at step ${step}`);
  }
  await pool.stop();
});

test('arrivals count useful groups and empty ones, once', async () => {
  const { pool, fetcher, made } = await ownPool();
  const peer = createKeyPair();
  const message = await made.announce({ peer, policyStep: 0, slot: 0, rewards: [1_000_000, 1_000_000, 0, 0] });
  fetcher.peers.set(message.peerIdString, { blobs: made.disk.blobs });
  await made.judge(message, 'accept');
  await made.accepted({ peer, policyStep: 0, slot: 1, rewards: [0, 0, 0, 0] });
  await settle();
  assert.deepEqual(pool.takeArrivals(), { groups: 2, sequences: 8, rewardSum: 2, tokens: 56 });
  assert.deepEqual(pool.takeArrivals(), { groups: 0, sequences: 0, rewardSum: 0, tokens: 0 });
  const left = pool.takeNotConsumed();
  assert.deepEqual(
    left.map(({ reason }) => reason),
    ['dropped.zeroAdvantage'],
  );
  await pool.stop();
});

test('a group in a batch is not ended by a verdict that comes later', async () => {
  const { pool, fetcher, made } = await ownPool();
  const peer = createKeyPair();
  const message = await made.announce({ peer, policyStep: 0, slot: 0 });
  fetcher.peers.set(message.peerIdString, { blobs: made.disk.blobs });
  await made.judge(message, 'accept');
  await settle();
  pool.take(pool.ready());
  assert.equal(pool.ready().length, 0);
  await made.judge(message, 'reject');
  await pool.expire(3);
  assert.equal(pool.finish(message.idHex, 'trained', null, 1), true);
  await pool.stop();
});

test('active peers are those with groups of the last steps that were found good', async () => {
  const { pool, made } = await ownPool();
  const [a, b] = [createKeyPair(), createKeyPair()];
  await made.accepted({ peer: a, policyStep: 0, slot: 0 });
  made.disk.chain.set(1);
  await made.accepted({ peer: b, policyStep: 1, slot: 0 });
  await made.announce({ peer: createKeyPair(), policyStep: 1, slot: 0 });
  assert.equal(pool.activePeers(2), 2);
  assert.equal(pool.activePeers(3), 1);
  assert.equal(pool.activePeers(4), 0);
  assert.equal(pool.announcedAt(1), 1);
  await pool.stop();
});

test('a crowd’s announcements take the places of a step and no more; whoever is known has others', async () => {
  const { pool, made } = await ownPool();
  const [known, places] = [createKeyPair(), 8];
  const taken = createStepPlaces(places);
  made.inbox.stageZero.group = createGroupStageZero({
    recipe: () => ({ resolved: made.recipe, open: true, chain: made.disk.chain, places: taken }),
    isQuarantined: () => false,
    isKnown: (_, peer) => peer === known.peerIdString,
    isKnownVerifier: () => false,
    nowMs: () => 0,
  });
  for (let i = 0; i < 3 * places; i++) await made.announce({ peer: createKeyPair(), policyStep: 0, slot: 0 });
  assert.equal(pool.unsettled(), places);
  for (let slot = 0; slot < 3; slot++) await made.announce({ peer: known, policyStep: 0, slot });
  assert.equal(pool.unsettled(), places + 3);
  await pool.stop();
});

test('announcements of strangers neither wait nor count once somebody’s groups were found good', async () => {
  const { pool, made } = await ownPool();
  const [known, strangers] = [createKeyPair(), Array.from({ length: 20 }, () => createKeyPair())];
  for (const peer of strangers) await made.announce({ peer, policyStep: 0, slot: 0 });
  await made.announce({ peer: strangers[0]!, policyStep: 0, slot: 1 });
  assert.equal(pool.waiting(), 21, 'nobody is known: it may be anybody’s that are good');
  assert.equal(pool.announcedAt(0), 2, 'and each may do what the busiest did');
  await made.accepted({ peer: known, policyStep: 0, slot: 0 });
  for (let slot = 1; slot < 10; slot++) await made.announce({ peer: known, policyStep: 0, slot });
  assert.deepEqual([pool.waiting(), pool.announcedAt(0), pool.activePeers(0)], [10, 10, 1]);
  assert.deepEqual([pool.announcingPeers(0), pool.announcingPeers(1)], [1, 0]);
  assert.deepEqual([pool.waiting(4), pool.announcedAt(0, 4)], [5, 4], 'one that is good, four that may be');
  await pool.stop();
});

test('without verdicts a peer is active once a body of its passed here', async () => {
  const made = trainerBench();
  made.disk.chain.set(0);
  const { blobs } = made.disk;
  const fetcher = memoryFetcher(memoryBlobs());
  const pool = createPool(
    {
      ...{ inbox: made.inbox, blobs: memoryBlobs(), fetcher, clock: fakeClock(), logger },
      ledger: createLedger(memoryRecords(), made.recipe.recipeIdHex),
      checkBody: () => ({ answer: 'accept' }),
    },
    { recipe: made.recipe, verifiers: [], requireVerdict: false },
    NOTHING,
  );
  await pool.start();
  const [peer, stranger] = [createKeyPair(), createKeyPair()];
  await blobs.delete(bodyOf(await made.announce({ peer: stranger, policyStep: 0, slot: 0 })));
  fetcher.peers.set(peer.peerIdString, { blobs });
  await made.announce({ peer, policyStep: 0, slot: 0 });
  await settle();
  assert.deepEqual([pool.activePeers(0), pool.waiting()], [1, 1]);
  await pool.stop();
});

test('unsettled is what a named verifier has yet to judge, or whose body is to come; what all leave open is not', async () => {
  const second = createKeyPair();
  for (const rule of ['own', 'standing', 'quorum']) {
    const { pool, fetcher, made } = await ownPool({ rule }, [VERIFIER, second]);
    const peer = createKeyPair();
    const [open, split] = [
      await made.announce({ peer, policyStep: 0, slot: 0 }),
      await made.announce({ peer, policyStep: 0, slot: 1 }),
    ];
    for (const group of [open, split]) await made.judge(group, 'ignore', 'NOT_CHECKED', createKeyPair());
    for (const group of [open, split]) await made.judge(group, 'ignore', 'NOT_CHECKED');
    assert.equal(pool.unsettled(), 2, 'the second has not spoken');
    await made.judge(open, 'ignore', 'NOT_CHECKED', second);
    assert.equal(pool.unsettled(), 1);
    assert.equal(pool.waiting(), rule === 'own' ? 1 : 2, 'others may still accept it, where the rule lets them');
    await made.judge(split, 'accept', undefined, second);
    await settle();
    assert.equal(pool.unsettled(), rule === 'quorum' ? 0 : 1, 'accepted, and its body is not here');
    fetcher.peers.set(split.peerIdString, { blobs: made.disk.blobs });
    await pool.stop();
  }
});

test('a verdict of a named verifier that is silenced settles, and accepts nothing', async () => {
  const made = trainerBench();
  made.disk.chain.set(0);
  const { blobs } = made.disk;
  const pool = createPool(
    {
      ...{ inbox: made.inbox, blobs, fetcher: memoryFetcher(blobs), clock: fakeClock(), logger },
      ledger: createLedger(memoryRecords(), made.recipe.recipeIdHex),
      checkBody: () => ({ answer: 'accept' }),
      worthOfVerifier: () => ({ standing: 1, isSilenced: true }),
    },
    { recipe: made.recipe, verifiers: [toHex(VERIFIER.publicKey)] },
    NOTHING,
  );
  await pool.start();
  await made.accepted({ peer: createKeyPair(), policyStep: 0, slot: 0 });
  await settle();
  assert.deepEqual([pool.unsettled(), pool.ready().length, pool.waiting()], [0, 0, 1]);
  await pool.stop();
});
