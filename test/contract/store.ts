// What every store does, the real one and the one in memory: run by test/contract/store.test.ts on both.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sha256, toHex, utf8 } from '../../node/protocol/bytes.ts';
import type { Records } from '../../node/protocol/ports.ts';
import type { Store } from '../../node/store/store.ts';
import type { Ending } from '../support/temp-dir.ts';

export type MakeStore = (t: Ending, maxDiskBytes?: number) => Promise<Store>;

async function keysOf(records: Records, range?: Parameters<Records['entries']>[0]): Promise<string[]> {
  const keys: string[] = [];
  for await (const [key] of records.entries(range)) keys.push(key);
  return keys;
}

function nameOf(bytes: Uint8Array): string {
  return toHex(sha256(bytes));
}

/** The contract of records. */
export function recordsContract(make: MakeStore): void {
  describe('records', () => {
    it('give back plain bytes, undefined for what is not there', async (t) => {
      const records = (await make(t)).records('things');
      assert.equal(await records.get('a'), undefined);
      await records.put('a', Uint8Array.of(1, 2));
      const value = await records.get('a');
      assert.deepEqual(value, Uint8Array.of(1, 2));
      await records.put('a', new Uint8Array(0));
      assert.deepEqual(await records.get('a'), new Uint8Array(0));
      assert.equal(records.has('a'), true);
      await records.delete('a');
      await records.delete('a');
      assert.equal(records.has('a'), false);
      assert.equal(await records.get('a'), undefined);
    });

    it('of one name do not see those of another', async (t) => {
      const store = await make(t);
      await store.records('one').put('k', Uint8Array.of(1));
      await store.records('one-more').put('k', Uint8Array.of(2));
      assert.deepEqual(await store.records('one').get('k'), Uint8Array.of(1));
      assert.deepEqual(await keysOf(store.records('on')), []);
      assert.deepEqual(await keysOf(store.records('one')), ['k']);
    });

    it('are listed in UTF-8 order, in ranges, from either end', async (t) => {
      const records = (await make(t)).records('things');
      // In UTF-16 the last two stand the other way round.
      const ordered = ['', 'a', 'a/1', 'a/10', 'a/2', 'b', '\uffee', '🐦'];
      for (const key of [...ordered].reverse()) await records.put(key, utf8(key));
      assert.deepEqual(await keysOf(records), ordered);
      assert.deepEqual(await keysOf(records, { reverse: true }), [...ordered].reverse());
      assert.deepEqual(await keysOf(records, { gte: 'a/', lt: 'a0' }), ['a/1', 'a/10', 'a/2']);
      assert.deepEqual(await keysOf(records, { gte: 'a/', lt: 'a0', reverse: true, limit: 2 }), ['a/2', 'a/10']);
      assert.deepEqual(await keysOf(records, { limit: 1 }), ['']);
      for await (const [key, value] of records.entries()) assert.deepEqual(value, utf8(key));
    });

    it('change together in a batch', async (t) => {
      const records = (await make(t)).records('things');
      await records.put('old', Uint8Array.of(1));
      await records.batch([
        ['new', Uint8Array.of(2)],
        ['old', null],
        ['never', null],
      ]);
      assert.deepEqual(await keysOf(records), ['new']);
    });

    it('may be written while they are listed', async (t) => {
      const records = (await make(t)).records('things');
      for (const key of ['a', 'b', 'c']) await records.put(key, Uint8Array.of(1));
      const seen: string[] = [];
      for await (const [key] of records.entries()) {
        seen.push(key);
        await records.delete(key);
        await records.put(`${key}-later`, Uint8Array.of(2));
      }
      assert.deepEqual(seen, ['a', 'b', 'c']);
      assert.deepEqual(await keysOf(records), ['a-later', 'b-later', 'c-later']);
    });
  });
}

/** The contract of blobs. */
export function blobsContract(make: MakeStore): void {
  describe('blobs', () => {
    it('are named by their hash and come back whole or by range', async (t) => {
      const { blobs } = await make(t);
      const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i);
      const name = await blobs.put(bytes);
      assert.equal(name, nameOf(bytes));
      assert.equal(await blobs.put(bytes), name);
      assert.equal(await blobs.has(name), true);
      assert.equal(await blobs.sizeBytes(name), 1000);
      assert.deepEqual(await blobs.get(name), bytes);
      assert.deepEqual(await blobs.read(name, 10, 20), bytes.slice(10, 30));
      assert.deepEqual(await blobs.read(name, 990, 20), bytes.slice(990));
      assert.deepEqual(await blobs.read(name, 2000, 20), new Uint8Array(0));
      assert.equal(blobs.usage().usedBytes, 1000);
    });

    it('may be empty', async (t) => {
      const { blobs } = await make(t);
      const name = await blobs.put(new Uint8Array(0));
      assert.deepEqual(await blobs.get(name), new Uint8Array(0));
      assert.equal(await blobs.sizeBytes(name), 0);
    });

    it('that are not there are BLOB_MISSING', async (t) => {
      const { blobs } = await make(t);
      const name = nameOf(utf8('never stored'));
      assert.equal(await blobs.has(name), false);
      assert.equal(await blobs.sizeBytes(name), null);
      await assert.rejects(blobs.get(name), { code: 'BLOB_MISSING' });
      await assert.rejects(blobs.read(name, 0, 1), { code: 'BLOB_MISSING' });
      await blobs.delete(name);
    });

    it('are listed, and gone once deleted', async (t) => {
      const { blobs } = await make(t);
      const names = [await blobs.put(utf8('one')), await blobs.put(utf8('three'))];
      const listed = new Map<string, number>();
      for await (const { hashHex, sizeBytes } of blobs.list()) listed.set(hashHex, sizeBytes);
      assert.deepEqual(
        listed,
        new Map([
          [names[0]!, 3],
          [names[1]!, 5],
        ]),
      );
      await blobs.delete(names[0]!);
      assert.equal(await blobs.has(names[0]!), false);
      await assert.rejects(blobs.get(names[0]!), { code: 'BLOB_MISSING' });
      assert.equal(blobs.usage().usedBytes, 5);
    });

    it('stay within the budget, also when many are written at once', async (t) => {
      const { blobs } = await make(t, 1000);
      const first = await blobs.put(new Uint8Array(600));
      await assert.rejects(blobs.put(new Uint8Array(401)), { code: 'DISK_BUDGET' });
      assert.equal(await blobs.put(new Uint8Array(600)), first);
      const writes = Array.from({ length: 10 }, (_, i) => blobs.put(new Uint8Array(100).fill(i + 1)));
      const done = (await Promise.allSettled(writes)).filter(({ status }) => status === 'fulfilled');
      assert.equal(done.length, 4);
      assert.deepEqual(blobs.usage(), { usedBytes: 1000, maxBytes: 1000 });
      await blobs.delete(first);
      await blobs.put(new Uint8Array(401));
    });

    it('written twice at once are counted once', async (t) => {
      const { blobs } = await make(t);
      const bytes = new Uint8Array(100);
      const names = await Promise.all([blobs.put(bytes), blobs.put(bytes), blobs.put(bytes)]);
      assert.equal(new Set(names).size, 1);
      assert.equal(blobs.usage().usedBytes, 100);
    });

    it('are named by 64 lower-case hex digits, and no path', async (t) => {
      const { blobs } = await make(t);
      for (const name of ['', '../../etc/passwd', 'AB'.repeat(32), 'ab'.repeat(33)]) {
        await assert.rejects(blobs.get(name), { code: 'BLOB_MISSING' });
        assert.equal(await blobs.has(name), false);
      }
    });
  });
}

/** The contract of the whole. */
export function storeContract(make: MakeStore): void {
  recordsContract(make);
  blobsContract(make);
  it('has one identity, and may be closed twice', async (t) => {
    const store = await make(t);
    const first = await store.identity();
    assert.deepEqual(await store.identity(), first);
    await store.close();
    await store.close();
  });
}
