// A full disk is DISK_FULL, and nothing that was whole is lost: by injected failures, and on a real tiny disk where
// the system lets us mount one.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { utf8 } from '../../../node/protocol/bytes.ts';
import { dataDirLayout } from '../../../node/store/data-dir.ts';
import { fullDisk } from '../../support/full-disk.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { tempStore } from '../../support/temp-store.ts';

describe('a disk that gets full', () => {
  it('while a blob is written leaves the others, no half of it, and room for the next', async (t) => {
    const disk = fullDisk(100_000);
    const store = await tempStore(t, { files: disk.files });
    const kept = await store.blobs.put(new Uint8Array(60_000));
    await assert.rejects(store.blobs.put(new Uint8Array(60_001)), { code: 'DISK_FULL' });
    assert.deepEqual(await readdir(dataDirLayout(store.dir).temporary), []);
    assert.equal((await store.blobs.get(kept)).length, 60_000);
    assert.equal(store.blobs.usage().usedBytes, 60_000);
    disk.freeBytes = 100_000;
    const next = await store.blobs.put(new Uint8Array(60_001));
    assert.equal((await store.blobs.get(next)).length, 60_001);
  });

  it('at the last moment (fsync, rename) leaves nothing half either', async (t) => {
    const disk = fullDisk(1_000_000);
    const store = await tempStore(t, { files: disk.files });
    for (const failure of ['syncFails', 'renameFails'] as const) {
      disk[failure] = 'EDQUOT';
      await assert.rejects(store.blobs.put(utf8('late')), { code: 'DISK_FULL' });
      disk[failure] = 'EIO';
      await assert.rejects(store.blobs.put(utf8('late')), { code: 'DATA_DIR_UNUSABLE' });
      disk[failure] = null;
      assert.deepEqual(await readdir(dataDirLayout(store.dir).temporary), []);
    }
    const name = await store.blobs.put(utf8('late'));
    assert.deepEqual(await store.blobs.get(name), utf8('late'));
    assert.equal(store.blobs.usage().usedBytes, 4);
  });

  it('before the key is written makes no key, and keeps one that is there', async (t) => {
    const disk = fullDisk(50);
    const store = await tempStore(t, { files: disk.files });
    await assert.rejects(store.identity(), { code: 'DISK_FULL' });
    disk.freeBytes = 1000;
    const identity = await store.identity();
    disk.freeBytes = 0;
    await assert.rejects(store.identity('pass'), { code: 'DISK_FULL' });
    assert.deepEqual(await store.identity(), identity);
  });
});

const CHILD = join(import.meta.dirname, '..', '..', 'support', 'full-disk-child.ts');

/** A mount of our own needs user namespaces, or root. */
async function onTinyDisk(dir: string): Promise<string | null> {
  const script = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" "$3" "$1"';
  const shell = ['sh', '-c', script, 'sh', dir, process.execPath, CHILD];
  const run = (flags: string): Promise<{ stdout: string }> => promisify(execFile)('unshare', [flags, ...shell]);
  try {
    await promisify(execFile)('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=2m none "$1"', 'sh', dir]);
  } catch {
    return null;
  }
  return (await run('-rm')).stdout;
}

it('a real disk of 2 MB, filled by blobs and then by records, loses nothing', async (t) => {
  const said = await onTinyDisk(await tempDir(t));
  if (said === null) {
    t.skip('this system does not let us mount a small disk');
    return;
  }
  const { blobCodes, blobsWhole, recordCode, recordsWhole } = JSON.parse(said);
  assert.deepEqual(blobCodes, ['DISK_FULL']);
  assert.equal(blobsWhole, true);
  assert.equal(recordCode, 'DISK_FULL');
  assert.equal(recordsWhole, true);
});
