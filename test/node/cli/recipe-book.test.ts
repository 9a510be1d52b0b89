// The book of recipes under a crowd: what is kept, what leaves, what is asked for again, and what stays on disk of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createRecipeBook,
  MAX_RECIPES,
  MAX_RECIPES_PER_AUTHOR,
  type RecipeBook,
} from '../../../node/cli/recipe-book.ts';
import { sha256, toHex } from '../../../node/protocol/bytes.ts';
import { createKeyPair, type KeyPair } from '../../../node/protocol/keys.ts';
import { encodeOffer } from '../../../node/protocol/offer.ts';
import type { PeerIdString, SignedMessage } from '../../../node/protocol/ports.ts';
import { encodeRecipeAnnouncement } from '../../../node/protocol/recipe-announcement.ts';
import { canonicalRecipe } from '../../../recipes/schema.ts';
import { type FakeClock, fakeClock } from '../../support/fake-clock.ts';
import { type MemoryFetcher, memoryFetcher } from '../../support/memory-fetcher.ts';
import { type MemoryInbox, memoryInbox, signAs } from '../../support/memory-inbox.ts';
import { memoryBlobs } from '../../support/memory-store.ts';
import { shippedSource } from '../../support/recipe-sources.ts';
import { silentLogger as logger } from '../../support/silent-logger.ts';

const TRAINER = createKeyPair();
const MINUTE_MS = 60_000;
const SOURCE = shippedSource('arrows', {});

interface Scene {
  readonly book: RecipeBook;
  readonly inbox: MemoryInbox;
  readonly clock: FakeClock;
  readonly blobs: ReturnType<typeof memoryBlobs>;
  readonly fetcher: MemoryFetcher;
  readonly followed: Set<string>;
  /** what a peer serves */
  readonly source: ReturnType<typeof memoryBlobs>;
  /** @returns the recipe's id */
  announce(
    author: KeyPair,
    name: string,
    options?: { readonly served?: boolean; readonly timeMs?: number },
  ): Promise<string>;
  announcements(): Promise<readonly SignedMessage[]>;
  again(): Promise<Scene>;
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve));
};

function recipe(author: KeyPair, name: string): Uint8Array {
  return canonicalRecipe({ ...SOURCE, name, author: toHex(author.publicKey), trainers: [toHex(TRAINER.publicKey)] });
}

async function scene(
  disk: NonNullable<Parameters<typeof memoryInbox>[1]> = [],
  blobs = memoryBlobs(),
  clock = fakeClock(),
): Promise<Scene> {
  const inbox = memoryInbox(createKeyPair(), disk);
  const [source, followed, fetcher] = [memoryBlobs(), new Set<string>(), memoryFetcher(blobs)];
  fetcher.peers.set('somebody' as PeerIdString, { blobs: source });
  const book = createRecipeBook({ inbox, blobs, fetcher, clock, logger, isFollowed: (id) => followed.has(id) });
  await book.start();
  return {
    ...{ book, inbox, clock, blobs, fetcher, followed, source },
    async announce(author, name, { served = true, timeMs = 1 } = {}) {
      const bytes = recipe(author, name);
      if (served) await source.put(bytes);
      await inbox.deliver(announcementOf(author, bytes, timeMs), null);
      await settle();
      return toHex(sha256(bytes));
    },
    async announcements() {
      const stored: SignedMessage[] = [];
      for await (const message of inbox.stored('recipe', null)) stored.push(message);
      return stored;
    },
    async again() {
      book.stop();
      return await scene(disk, blobs, clock);
    },
  };
}

const ANY = signAs(createKeyPair(), 'recipe', new Uint8Array(1));

/** Signatures are no matter here, and take their time. */
function announcementOf(signer: KeyPair, bytes: Uint8Array, timeMs = 1): SignedMessage {
  const payload = encodeRecipeAnnouncement({ recipe: { hash: sha256(bytes), sizeBytes: bytes.length }, timeMs });
  const { publicKey, peerId, peerIdString } = signer;
  return { ...ANY, publicKey, peerId, peerIdString, payload, id: sha256(payload), idHex: toHex(sha256(payload)) };
}

function offerOf(timeMs: number, ...ids: string[]): SignedMessage {
  const trainingRecipeIds = ids.map((id) => Buffer.from(id, 'hex'));
  const offer = { architectures: [], maxParameters: 1, trainingRecipeIds, timeMs, initialPolicyRoots: [] };
  return signAs(TRAINER, 'offer', encodeOffer({ ...offer, accepts: 'all' }));
}

test('the recipe not heard of for longest makes room for another, never one that is followed', async () => {
  const { book, inbox, clock, followed, announce, announcements, blobs, again } = await scene();
  const [first, second, third] = [
    await announce(createKeyPair(), 'followed'),
    await announce(createKeyPair(), 'heard-of'),
    await announce(createKeyPair(), 'silent'),
  ];
  followed.add(first);
  await clock.advance(MINUTE_MS);
  await inbox.deliver(offerOf(clock.nowMs(), second), null);
  let author = createKeyPair();
  for (let i = 3; i < MAX_RECIPES; i++) {
    if (i % MAX_RECIPES_PER_AUTHOR === 3) author = createKeyPair();
    await announce(author, `junk-${i}`);
  }
  assert.equal(book.list().length, MAX_RECIPES);
  const honest = await announce(createKeyPair(), 'honest');
  assert.equal(book.list().length, MAX_RECIPES);
  assert.deepEqual(
    [first, second, third, honest].map((id) => book.get(id) !== undefined),
    [true, true, false, true],
  );
  assert.equal((await announcements()).length, MAX_RECIPES, 'its announcement is gone');
  assert.equal(await blobs.has(third), false, 'and so are its bytes');
  const after = await again();
  assert.equal(after.book.list().length, MAX_RECIPES);
  assert.ok(after.book.find('honest') !== undefined && after.book.find('silent') === undefined);
  after.book.stop();
});

test('an author has a number of recipes: another takes the place of his own', async () => {
  const { book, followed, announce, announcements } = await scene();
  const [one, other] = [createKeyPair(), createKeyPair()];
  const kept = await announce(other, 'of-another-author');
  const ids: string[] = [];
  for (let i = 0; i < MAX_RECIPES_PER_AUTHOR + 3; i++) ids.push(await announce(one, `${i}`));
  assert.equal(book.list().length, MAX_RECIPES_PER_AUTHOR + 1);
  assert.deepEqual(
    [book.get(ids[2]!), book.get(ids[3]!) !== undefined, book.get(kept) !== undefined],
    [undefined, true, true],
  );
  for (const id of ids) followed.add(id);
  const tooMany = await announce(one, 'one-too-many');
  assert.equal(book.get(tooMany), undefined, 'all others are followed');
  assert.equal((await announcements()).length, MAX_RECIPES_PER_AUTHOR + 1);
  book.stop();
});

test('a recipe for which there is no room is not held to be wrong: it is taken once there is some', async () => {
  const made = await scene();
  const author = createKeyPair();
  for (let i = 0; i < MAX_RECIPES_PER_AUTHOR; i++) made.followed.add(await made.announce(author, `followed-${i}`));
  const late = await made.announce(author, 'late');
  assert.equal(made.book.get(late), undefined);
  assert.equal(await made.blobs.has(late), false);
  made.followed.clear();
  assert.equal(await made.announce(author, 'late'), late);
  assert.equal(made.book.get(late)?.resolved.recipe.name, 'late');
});

test('what this node submits is always taken, and stays', async () => {
  const { book, inbox, followed, announce } = await scene();
  for (let i = 0; i < MAX_RECIPES_PER_AUTHOR; i++) followed.add(await announce(inbox.keyPair, `${i}`));
  const { resolved } = await book.submit(recipe(inbox.keyPair, 'submitted'));
  await settle();
  for (let i = 0; i < 3; i++) await announce(inbox.keyPair, `later-${i}`);
  assert.ok(book.get(resolved.recipeIdHex) !== undefined);
  book.stop();
});

test('what nobody has holds no place for longer than an attempt, and is asked for again', async () => {
  const { book, fetcher, clock, source, announce, announcements } = await scene();
  const { fetch } = fetcher;
  let stalled: (() => void)[] = [];
  const asked = new Map<string, number>();
  Object.assign(fetcher, {
    async fetch(hash: string, options: Parameters<typeof fetch>[1]) {
      asked.set(hash, (asked.get(hash) ?? 0) + 1);
      if (!(await source.has(hash))) await new Promise<void>((resolve) => stalled.push(resolve));
      return await fetch(hash, options);
    },
  });
  const endAttempts = async (): Promise<void> => {
    const those = stalled;
    stalled = [];
    for (const end of those) end();
    await settle();
  };
  for (let i = 0; i < 64; i++) {
    const bad = createKeyPair();
    for (let k = 0; k < 5; k++) await announce(bad, `${k}`, { served: false });
    assert.equal(asked.size, 4 * (i + 1));
  }
  assert.equal(asked.size, 256, 'all places, four of each signer');
  const late = createKeyPair();
  const id = await announce(late, 'honest-but-late', { served: false });
  const other = await announce(createKeyPair(), 'honest');
  assert.equal(book.get(other), undefined);
  await endAttempts();
  assert.ok(book.get(other) !== undefined, 'as soon as attempts have failed');
  await endAttempts();
  await source.put(recipe(late, 'honest-but-late'));
  for (let i = 0; i < 40; i++) {
    await clock.advance(5_000);
    await settle();
    await endAttempts();
    if (i === 1) assert.ok(book.get(id) !== undefined, 'asked for again');
  }
  assert.equal(Math.max(...asked.values()), 12, 'the rest was tried often enough');
  assert.deepEqual([(await announcements()).length, asked.size], [2, 322], 'and is forgotten');
  book.stop();
});

test('announcements that wait are bounded, of a signer and in all', async () => {
  const { book, announce, announcements } = await scene();
  const one = createKeyPair();
  for (let i = 0; i < 60; i++) await announce(one, `${i}`, { served: false });
  assert.equal((await announcements()).length, 32, 'of one signer');
  let signer = one;
  for (let i = 0; i < 1_100; i++) {
    if (i % 30 === 0) signer = createKeyPair();
    await announce(signer, `junk-${i}`, { served: false });
  }
  assert.ok((await announcements()).length <= 1_024);
  book.stop();
});

test('one announcement of a recipe is kept, of its author; what is no recipe is forgotten, and not asked for again', async () => {
  const { book, inbox, blobs, source, fetcher, announce, announcements } = await scene();
  const [one, thief] = [createKeyPair(), createKeyPair()];
  await announce(one, 'a');
  await announce(one, 'a', { timeMs: 2 });
  await inbox.deliver(announcementOf(thief, recipe(one, 'a')), null);
  await source.put(recipe(one, 'b'));
  await inbox.deliver(announcementOf(thief, recipe(one, 'b')), null);
  await settle();
  assert.deepEqual(
    (await announcements()).map(({ peerIdString }) => peerIdString),
    [one.peerIdString],
    'the thief’s are gone',
  );
  const junk = new TextEncoder().encode('no recipe');
  const [ours, hash] = [await blobs.put(new TextEncoder().encode('no recipe, but ours')), await source.put(junk)];
  await inbox.deliver(announcementOf(thief, junk), null);
  await inbox.deliver(announcementOf(thief, await blobs.get(ours)), null);
  await settle();
  assert.deepEqual([await blobs.has(hash), await blobs.has(ours)], [false, true]);
  assert.equal((await announcements()).length, 1);
  let asked = 0;
  Object.assign(fetcher, { fetch: () => Promise.reject(new Error(`asked ${++asked} times`)) });
  await inbox.deliver(announcementOf(thief, junk), null);
  await settle();
  assert.deepEqual([asked, (await announcements()).length], [0, 1]);
  book.stop();
});

test('offers that were not repeated are not shown', async () => {
  const { book, inbox, clock } = await scene();
  await inbox.deliver(offerOf(clock.nowMs()), null);
  await clock.advance(9 * MINUTE_MS);
  assert.equal(book.offers().length, 1);
  await clock.advance(MINUTE_MS);
  assert.equal(book.offers().length, 0);
  book.stop();
});
