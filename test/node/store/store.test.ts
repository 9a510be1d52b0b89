// What the contract does not say of a data directory: other processes, kills, restarts, damage.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { utf8 } from '../../../node/protocol/bytes.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { blobFile, dataDirLayout, runningNode } from '../../../node/store/data-dir.ts';
import { createStore, type Store } from '../../../node/store/store.ts';
import { recordingLogger, silentLogger } from '../../support/silent-logger.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';
import { tempStore } from '../../support/temp-store.ts';

const CHILD = join(import.meta.dirname, '..', '..', 'support', 'store-child.ts');

function open(dir: string): Promise<Store> {
  return createStore({ dir, maxDiskBytes: 2 ** 30, logger: silentLogger });
}

/** Starts store-child.ts; resolves when it has said `lines` lines. */
async function startChild(t: Ending, dir: string, what: 'hold' | 'write', lines: number) {
  const child: ChildProcess = spawn(process.execPath, [CHILD, dir, what], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(async () => void child.kill('SIGKILL'));
  const said: string[] = [];
  const reader = createInterface({ input: child.stdout! });
  const enough = new Promise<void>((resolve, reject) => {
    reader.on('line', (line) => said.push(line) >= lines && resolve());
    reader.on('close', () => reject(new Error('the child ended')));
  });
  enough.catch(() => undefined);
  await enough;
  return { child, said };
}

async function killed(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'close');
}

describe('a data directory', () => {
  it('holds what it held when it is opened again', async (t) => {
    const dir = await tempDir(t);
    const first = await open(dir);
    const identity = await first.identity();
    const name = await first.blobs.put(utf8('kept'));
    await first.records('r').put('k', Uint8Array.of(7));
    await first.close();
    const second = await open(dir);
    assert.deepEqual(await second.identity(), identity);
    assert.deepEqual(await second.blobs.get(name), utf8('kept'));
    assert.deepEqual(await second.records('r').get('k'), Uint8Array.of(7));
    assert.equal(second.blobs.usage().usedBytes, 4);
    await second.close();
  });

  it('answers of records as soon as they are named', async (t) => {
    const dir = await tempDir(t);
    const first = await open(dir);
    assert.equal(first.records('r').has('k'), false);
    await first.records('r').put('k', Uint8Array.of(7));
    await first.close();
    const second = await open(dir);
    assert.equal(second.records('r').has('k'), true);
    assert.equal(second.records('other').has('k'), false);
    await second.close();
  });

  it('in use by another process says which, and is free the moment that one is killed', async (t) => {
    const dir = await tempDir(t);
    const { child } = await startChild(t, dir, 'hold', 1);
    assert.deepEqual(await runningNode(dir), { pid: child.pid });
    await assert.rejects(open(dir), (error) => {
      assert.ok(isSwarmError(error, 'DATA_DIR_IN_USE'));
      assert.equal(error.detail.pid, child.pid);
      return true;
    });
    assert.deepEqual(await runningNode(dir), { pid: child.pid });
    await killed(child);
    assert.equal(await runningNode(dir), null);
    const store = await open(dir);
    assert.deepEqual(await runningNode(dir), { pid: process.pid });
    await assert.rejects(open(dir), { code: 'DATA_DIR_IN_USE' });
    await store.close();
    assert.equal(await runningNode(dir), null);
  });

  it('of a process killed while writing has every awaited record, every batch whole, every blob whole', async (t) => {
    const dir = await tempDir(t);
    const { child, said } = await startChild(t, dir, 'write', 12);
    await killed(child);
    const store = await open(dir);
    const keys = { a: [] as string[], b: [] as string[] };
    for await (const [key] of store.records('count').entries()) keys[key[0] as 'a' | 'b'].push(key.slice(2));
    assert.deepEqual(keys.a, keys.b);
    assert.ok(keys.a.length > Number(said.at(-1)), `${keys.a.length} records after "${said.at(-1)}"`);
    for await (const { hashHex } of store.blobs.list()) assert.equal((await store.blobs.get(hashHex)).length, 50_000);
    assert.deepEqual(await readdir(dataDirLayout(dir).temporary), []);
    await store.close();
  });

  it('loses unfinished files of a killed process', async (t) => {
    const dir = await tempDir(t);
    await (await open(dir)).close();
    const { temporary } = dataDirLayout(dir);
    await writeFile(join(temporary, 'half.tmp'), 'half');
    const { logger, lines } = recordingLogger();
    const store = await createStore({ dir, maxDiskBytes: 1, logger });
    assert.deepEqual(await readdir(temporary), []);
    assert.equal(lines.length, 1);
    await store.close();
  });

  it('that cannot be one is DATA_DIR_UNUSABLE', async (t) => {
    const dir = await tempDir(t);
    const file = join(dir, 'file');
    await writeFile(file, '');
    await assert.rejects(open(file), { code: 'DATA_DIR_UNUSABLE' });
    await assert.rejects(open(join(file, 'inside')), { code: 'DATA_DIR_UNUSABLE' });
    await assert.rejects(open('/proc/murmuration'), { code: 'DATA_DIR_UNUSABLE' });
  });

  it('whose records are damaged is DATA_DIR_UNUSABLE, and not left locked', async (t) => {
    const dir = await tempDir(t);
    await (await open(dir)).close();
    await writeFile(join(dataDirLayout(dir).db, 'CURRENT'), 'nonsense');
    await assert.rejects(open(dir), { code: 'DATA_DIR_UNUSABLE' });
    await assert.rejects(open(dir), { code: 'DATA_DIR_UNUSABLE' });
  });

  it('is nobody’s when its pid file says nothing', async (t) => {
    const dir = await tempDir(t);
    assert.equal(await runningNode(dir), null);
    for (const text of ['', 'x', '-1', '0', '99999999999', '12 34']) {
      await writeFile(dataDirLayout(dir).pidFile, text);
      assert.equal(await runningNode(dir), null);
    }
  });
});

describe('a blob on disk', () => {
  it('that was damaged is BLOB_CORRUPT once, then missing, then may be stored again', async (t) => {
    const { dir, blobs } = await tempStore(t);
    const name = await blobs.put(utf8('precious'));
    await writeFile(blobFile(dataDirLayout(dir), name), 'Precious');
    await assert.rejects(blobs.get(name), { code: 'BLOB_CORRUPT' });
    await assert.rejects(blobs.get(name), { code: 'BLOB_MISSING' });
    assert.equal(blobs.usage().usedBytes, 0);
    await blobs.put(utf8('precious'));
    assert.deepEqual(await blobs.get(name), utf8('precious'));
  });

  it('that somebody removed is missing', async (t) => {
    const { dir, blobs } = await tempStore(t);
    const names = [await blobs.put(utf8('one')), await blobs.put(utf8('two'))];
    for (const name of names) await rm(blobFile(dataDirLayout(dir), name));
    await assert.rejects(blobs.get(names[0]!), { code: 'BLOB_MISSING' });
    await assert.rejects(blobs.read(names[1]!, 0, 1), { code: 'BLOB_MISSING' });
    assert.equal(blobs.usage().usedBytes, 0);
  });
});

describe('the key file', () => {
  it('is its owner’s only, also after somebody opened it to others', async (t) => {
    const store = await tempStore(t);
    const { keyFile } = dataDirLayout(store.dir);
    await store.identity();
    assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
    await chmod(keyFile, 0o644);
    await store.identity();
    assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  });

  it('is sealed when a passphrase is given, and stays the same key', async (t) => {
    const store = await tempStore(t);
    const identity = await store.identity();
    assert.deepEqual(await store.identity('pass'), identity);
    assert.deepEqual(await store.identity('pass'), identity);
    await assert.rejects(store.identity(), { code: 'BAD_KEY' });
    await assert.rejects(store.identity('other'), { code: 'BAD_KEY' });
    assert.equal((await stat(dataDirLayout(store.dir).keyFile)).mode & 0o777, 0o600);
  });

  it('that is damaged is not replaced by a new key', async (t) => {
    const store = await tempStore(t);
    const { keyFile } = dataDirLayout(store.dir);
    await writeFile(keyFile, 'damaged');
    await assert.rejects(store.identity(), { code: 'BAD_KEY' });
    assert.equal(await readFile(keyFile, 'utf8'), 'damaged');
  });
});
