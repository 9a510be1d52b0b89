// Fetching shards: from several peers, past liars, truncations and slow ones, resuming what was interrupted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SwarmError } from '../../node/protocol/errors.ts';
import { createShardFetcher, type ShardFetcher, type ShardFetcherInit, type ShardRef } from '../../shardcast/fetch.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { type MemoryFetcher, memoryFetcher } from '../support/memory-fetcher.ts';
import { memoryBlobs } from '../support/memory-store.ts';
import { randomNumbers } from '../support/random-model.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';

const SHARD_BYTES = 1000;

interface Bench {
  readonly blobs: ReturnType<typeof memoryBlobs>;
  readonly fetcher: MemoryFetcher;
  readonly clock: ReturnType<typeof fakeClock>;
  readonly shards: readonly ShardRef[];
  readonly service: ShardFetcher;
  readonly source: ReturnType<typeof memoryBlobs>;
  missing(): Promise<number>;
}

/** Sources `names` that hold `count` shards, asked in ranges of 300 bytes. */
async function bench(names: readonly string[], count: number, init: ShardFetcherInit = {}): Promise<Bench> {
  const blobs = memoryBlobs();
  const source = memoryBlobs();
  const clock = fakeClock();
  const fetcher = memoryFetcher(blobs);
  for (const name of names) fetcher.peers.set(name, { blobs: source });
  const shards: ShardRef[] = [];
  for (let i = 0; i < count; i++) {
    const bytes = new Uint8Array(SHARD_BYTES - i).fill(i + 1);
    shards.push({ hashHex: await source.put(bytes), sizeBytes: bytes.length });
  }
  const service = createShardFetcher({ fetcher, blobs, clock, logger }, { rangeBytes: 300, draw: draws(), ...init });
  const missing = async (): Promise<number> =>
    (await Promise.all(shards.map(({ hashHex }) => blobs.has(hashHex)))).filter((here) => !here).length;
  return { blobs, fetcher, clock, shards, service, source, missing };
}

function draws(): () => number {
  let i = 0;
  return () => (i++ * 0.618) % 1;
}

const options = (signal: AbortSignal = new AbortController().signal) => ({ signer: 'signer', signal });

test('shards come from several peers and are whole', async () => {
  const { service, shards, missing, fetcher } = await bench(['a', 'b', 'c'], 12);
  await service.fetch(shards, options());
  assert.equal(await missing(), 0);
  assert.ok(new Set(fetcher.asked.map(({ peer }) => peer)).size >= 2);
});

for (const [what, tamper] of [
  ['corrupt', (bytes: Uint8Array) => bytes.map((value) => value ^ 1)],
  ['truncated', (bytes: Uint8Array) => bytes.subarray(1)],
] as const) {
  test(`a ${what} shard costs its sender and comes from another peer`, async () => {
    const { service, shards, missing, fetcher, source } = await bench(['honest', 'liar'], 8);
    fetcher.peers.set('liar', { blobs: source, tamper });
    await service.fetch(shards, options());
    assert.equal(await missing(), 0);
    assert.ok(fetcher.asked.some(({ peer }) => peer === 'liar'));
    assert.ok(service.peers.score('liar').success < service.peers.score('honest').success);
    assert.equal(service.peers.score('liar').hasDelivered, false);
  });
}

test('what is on disk is not fetched again', async () => {
  const { service, shards, missing, fetcher, blobs, source } = await bench(['a'], 4);
  await blobs.put(await source.get(shards[0]!.hashHex));
  await service.fetch(shards, options());
  assert.equal(await missing(), 0);
  assert.ok(fetcher.asked.every(({ hashHex }) => hashHex !== shards[0]!.hashHex));
});

test('an interrupted download keeps its whole shards and goes on from them', async () => {
  const { service, shards, missing, fetcher, source } = await bench(['a'], 6, { inFlight: 1 });
  const controller = new AbortController();
  let ranges = 0;
  fetcher.peers.set('a', {
    blobs: source,
    tamper(bytes) {
      if (++ranges === 10) controller.abort();
      if (controller.signal.aborted) throw new SwarmError('STREAM_ENDED', 'gone');
      return bytes;
    },
  });
  await assert.rejects(service.fetch(shards, options(controller.signal)), { code: 'INTERRUPTED' });
  assert.equal(await missing(), 4, 'two shards of four ranges each were whole');
  fetcher.peers.set('a', { blobs: source });
  fetcher.asked.length = 0;
  await service.fetch(shards, options());
  assert.equal(await missing(), 0);
  assert.equal(fetcher.asked.length, 16);
});

test('the signer is asked when nobody else has a shard', async () => {
  const { service, shards, missing, fetcher, source } = await bench([], 2);
  fetcher.peers.set('signer', { blobs: source });
  await service.fetch(shards, options());
  assert.equal(await missing(), 0);
});

test('with nobody there it waits, and goes on when somebody comes', async () => {
  const { service, shards, missing, fetcher, source, clock } = await bench([], 2);
  const done = service.fetch(shards, options());
  await clock.advance(2_000);
  assert.equal(await missing(), 2);
  fetcher.peers.set('late', { blobs: source });
  await clock.advance(10_000);
  await done;
  assert.equal(await missing(), 0);
});

test('a range that hangs is asked of a second peer', async () => {
  const { service, shards, missing, fetcher, source, clock } = await bench(['quick'], 3);
  fetcher.peers.set('slow', { blobs: source, tamper: () => new Promise(() => undefined) });
  const done = service.fetch(shards, options());
  for (let i = 0; i < 20; i++) await clock.advance(10_001);
  await done;
  assert.equal(await missing(), 0);
  assert.equal(service.peers.score('slow').hasDelivered, false);
  assert.equal(service.peers.score('slow').bytesPerMs, 1);
  // One range each of three shards: who overtook it goes on.
  assert.ok(fetcher.asked.filter(({ peer }) => peer === 'slow').length <= 3);
});

test('the only holder hangs: the signer is asked as well, not the holder again', async () => {
  const { service, shards, missing, fetcher, source, clock } = await bench([], 1);
  fetcher.peers.set('slow', { blobs: source, tamper: () => new Promise(() => undefined) });
  fetcher.peers.set('signer', { blobs: source });
  const { have } = fetcher;
  fetcher.have = async (peer, hashes) => (peer === 'signer' ? hashes.map(() => false) : have(peer, hashes));
  const done = service.fetch(shards, options());
  for (let i = 0; i < 20; i++) await clock.advance(10_001);
  assert.equal(await missing(), 0);
  await done;
  // Ranges of 300, 300, 300 and 100 bytes, each within a millisecond: the wait for the holder is not the signer's.
  assert.ok(Math.abs(service.peers.score('signer').bytesPerMs - (0.7 * 300 + 0.3 * 100)) < 1e-9);
});

let madePolicies = 100;

/** Seconds that each of so many policies of one shard took, one after the other. */
async function secondsOfPolicies({ service, source, clock }: Bench, count: number): Promise<readonly number[]> {
  const seconds: number[] = [];
  for (let policy = 0; policy < count; policy++) {
    const bytes = new Uint8Array(SHARD_BYTES).fill(madePolicies++);
    const shard = { hashHex: await source.put(bytes), sizeBytes: bytes.length };
    const startMs = clock.nowMs();
    let isDone = false;
    const done = service.fetch([shard], options()).then(() => {
      isDone = true;
    });
    for (let i = 0; i < 1_000 && !isDone; i++) {
      for (let k = 0; k < 10; k++) await new Promise((resolve) => setImmediate(resolve));
      if (!isDone) await clock.advance(100);
    }
    await done;
    seconds.push((clock.nowMs() - startMs) / 1000);
  }
  return seconds;
}

test('a peer that never says what it holds is waited for once, 1.5 s', async () => {
  const made = await bench(['a', 'b'], 0);
  const { fetcher, clock, source } = made;
  fetcher.peers.set('silent', { blobs: source });
  const { have } = fetcher;
  let asked = 0;
  fetcher.have = async (peer, hashes) => {
    if (peer !== 'silent') return have(peer, hashes);
    asked += 1;
    await clock.sleep(10_000);
    throw new SwarmError('REQUEST_TIMEOUT', 'no answer');
  };
  assert.deepEqual(await secondsOfPolicies(made, 5), [1.5, 0, 0, 0, 0]);
  assert.equal(asked, 1, 'not asked again while it may still answer');
  await clock.advance(10_000);
  assert.deepEqual(await secondsOfPolicies(made, 1), [0]);
  assert.equal(asked, 2);
});

test('a peer that says late what it holds is asked for it in the same round, and waited for once it is quick', async () => {
  const made = await bench([], 1);
  const { fetcher, clock, source, service, shards, missing } = made;
  fetcher.peers.set('busy', { blobs: source });
  fetcher.peers.set('signer', {
    blobs: source,
    async tamper() {
      await clock.sleep(3_000);
      throw new SwarmError('REQUEST_REFUSED', 'busy');
    },
  });
  const { have } = fetcher;
  let haveMs = 2_000;
  fetcher.have = async (peer, hashes) => {
    if (peer === 'signer') return hashes.map(() => false);
    await clock.sleep(haveMs);
    return have(peer, hashes);
  };
  const done = service.fetch(shards, options());
  await clock.advance(1_400);
  assert.deepEqual(fetcher.asked, []);
  await clock.advance(3_600);
  await done;
  assert.equal(await missing(), 0);
  haveMs = 1_000;
  assert.deepEqual(await secondsOfPolicies(made, 2), [3, 1], 'the signer first, then whoever is quick again');
});

test('peers that are all slow to say what they hold are waited for when nobody else gives anything', async () => {
  const { fetcher, clock, source, service, shards, missing } = await bench([], 3);
  for (const peer of ['slow', 'slower']) fetcher.peers.set(peer, { blobs: source });
  const { have } = fetcher;
  fetcher.have = async (peer, hashes) => {
    await clock.sleep(peer === 'slow' ? 4_000 : 6_000);
    return have(peer, hashes);
  };
  const done = service.fetch(shards, options());
  await clock.advance(4_500);
  assert.equal(await missing(), 0);
  await done;
});

test('who delivered quickly and then holds ranges open is soon asked for nothing', async () => {
  const made = await bench(['a', 'b', 'signer'], 0, { draw: randomNumbers(7) });
  const { fetcher, clock, source, service } = made;
  const slowly = async (bytes: Uint8Array): Promise<Uint8Array> => {
    await clock.sleep(1);
    return bytes;
  };
  for (const peer of ['a', 'b', 'signer']) fetcher.peers.set(peer, { blobs: source, tamper: slowly });
  let given = 0;
  const tamper = async (bytes: Uint8Array): Promise<Uint8Array> => {
    if (given++ < 4) return bytes;
    await clock.sleep(15_000);
    throw new SwarmError('REQUEST_TIMEOUT', 'no answer');
  };
  fetcher.peers.set('stalling', { blobs: source, tamper });
  const seconds = await secondsOfPolicies(made, 40);
  assert.equal(service.peers.score('stalling').hasDelivered, true);
  assert.equal(seconds.filter((each) => each >= 10).length, 1, `${seconds}`);
  assert.ok(Math.max(...seconds) < 11, 'one range, not one after the other');
  assert.ok(
    service.peers.score('a').bytesPerMs > 2,
    'who helped out is not measured with the time of whom it overtook',
  );
});

test('a full disk ends the fetch with its code', async () => {
  const { fetcher, shards, clock, source } = await bench(['a'], 4);
  const full = memoryBlobs();
  const blobs = {
    ...full,
    put: async (bytes: Uint8Array) => {
      if (full.usage().usedBytes >= 1_500) throw new SwarmError('DISK_FULL', 'the disk is full');
      return full.put(bytes);
    },
  };
  const service = createShardFetcher({ fetcher, blobs, clock, logger }, { inFlight: 2 });
  await assert.rejects(service.fetch(shards, options()), { code: 'DISK_FULL' });
  for await (const { hashHex } of full.list()) assert.deepEqual(await full.get(hashHex), await source.get(hashHex));
});
