// Checkpoints survive a kill at any moment: what is found is whole, or the one before.

import assert from 'node:assert/strict';
import { cp, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { OpenFile } from '../../node/protocol/disk.ts';
import { isSwarmError } from '../../node/protocol/errors.ts';
import { type Checkpoint, newestCheckpoint, readCheckpoint, saveCheckpoint } from '../../trainer/checkpoint.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-checkpoint-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function checkpointOf(step: number): Checkpoint {
  const tensor = (base: number) =>
    new Map([['w', { shape: [2, 2], data: Float32Array.of(base, base + 0.1, -base, 1e-30) }]]);
  return {
    meta: { step, recipeId: 'ab', consumed: [`group-${step}`], extra: { published: step } },
    optimizerStep: 2 * step,
    weights: tensor(step),
    firstMoments: tensor(step + 100),
    secondMoments: tensor(step + 200),
  };
}

test('a checkpoint comes back bit for bit', async () => {
  const saved = checkpointOf(7);
  await saveCheckpoint(dir, saved);
  assert.deepEqual((await newestCheckpoint(dir))?.checkpoint, saved);
});

test('no folder and an empty folder hold no checkpoint', async () => {
  assert.equal(await newestCheckpoint(dir), null);
  assert.equal(await newestCheckpoint(join(dir, 'nowhere')), null);
});

test('only the newest few stay, in the order of numbers and not of text', async () => {
  for (const step of [8, 9, 10, 11]) await saveCheckpoint(dir, checkpointOf(step), 2);
  assert.deepEqual((await readdir(dir)).sort(), ['step-10', 'step-11']);
});

test('a kill while writing leaves the checkpoint before', async () => {
  await saveCheckpoint(dir, checkpointOf(1));
  await saveCheckpoint(dir, checkpointOf(2));
  // The states a killed writer can leave: the temporary folder with any prefix of its files.
  await cp(join(dir, 'step-2'), join(dir, 'step-3.tmp'), { recursive: true });
  for (const file of ['state.json', 'second-moments.safetensors', 'first-moments.safetensors', 'weights.safetensors']) {
    assert.equal((await newestCheckpoint(dir))?.checkpoint.meta.step, 2);
    await rm(join(dir, 'step-3.tmp', file));
  }
  // And the leftover does not disturb the next writer.
  await saveCheckpoint(dir, checkpointOf(3));
  assert.equal((await newestCheckpoint(dir))?.checkpoint.meta.step, 3);
  assert.deepEqual(
    (await readdir(dir)).filter((name) => name.endsWith('.tmp')),
    [],
  );
});

test('every truncated, changed or missing file is found out', async () => {
  await saveCheckpoint(dir, checkpointOf(1));
  const whole = join(dir, 'step-1');
  for (const file of await readdir(whole)) {
    const bytes = await readFile(join(whole, file));
    const spoils: ((path: string) => Promise<void>)[] = [
      (path) => truncate(path, bytes.length - 3),
      (path) => truncate(path, 0),
      (path) => rm(path),
    ];
    if (file.endsWith('.safetensors'))
      spoils.push((path) =>
        writeFile(
          path,
          bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte)),
        ),
      );
    for (const spoil of spoils) {
      await cp(whole, join(dir, 'step-2'), { recursive: true });
      await spoil(join(dir, 'step-2', file));
      await assert.rejects(
        readCheckpoint(join(dir, 'step-2')),
        (error) => isSwarmError(error, 'CHECKPOINT_CORRUPT'),
        file,
      );
      const found = await newestCheckpoint(dir);
      assert.equal(found?.checkpoint.meta.step, 1);
      assert.equal(found?.skipped.length, 1);
      await rm(join(dir, 'step-2'), { recursive: true });
    }
  }
});

test('a broken folder of the same step is replaced', async () => {
  await saveCheckpoint(dir, checkpointOf(1));
  await truncate(join(dir, 'step-1', 'state.json'), 5);
  await saveCheckpoint(dir, checkpointOf(1));
  assert.equal((await newestCheckpoint(dir))?.skipped.length, 0);
});

for (const code of ['ENOSPC', 'EDQUOT']) {
  test(`a full disk (${code}) is named, leaves nothing half written and the checkpoint before`, async () => {
    await saveCheckpoint(dir, checkpointOf(1));
    let freeBytes = 300;
    const openFile: OpenFile = async (path, flags) => {
      const handle = await open(path, flags);
      const write = handle.writeFile.bind(handle);
      handle.writeFile = async (data) => {
        const bytes = Buffer.from(data as Uint8Array);
        await write(bytes.subarray(0, freeBytes));
        freeBytes -= bytes.length;
        if (freeBytes < 0) throw Object.assign(new Error('injected'), { code });
      };
      return handle;
    };
    await assert.rejects(saveCheckpoint(dir, checkpointOf(2), 3, openFile), (error) =>
      isSwarmError(error, 'DISK_FULL'),
    );
    assert.deepEqual(await readdir(dir), ['step-1']);
    assert.equal((await newestCheckpoint(dir))?.checkpoint.meta.step, 1);
  });
}
