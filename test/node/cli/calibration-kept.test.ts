// What a calibration keeps of its counts: on disk from the first on, of one subject only, and no failed write goes untold.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openKeptParts } from '../../../node/cli/calibration-kept.ts';
import { tempDir } from '../../support/temp-dir.ts';

type State = Parameters<Awaited<ReturnType<typeof openKeptParts>>['keeper']['keep']>[1];
const stateOf = (done: number): State => ({ done, tally: {} }) as unknown as State;

async function keptFile(t: TestContext): Promise<string> {
  return join(await tempDir(t), 'out', 'unfinished.json');
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(5);
}

test('the first counts are written at once, later ones not before they are due, and flush writes the rest', async (t) => {
  const path = await keptFile(t);
  let nowMs = 0;
  const kept = await openKeptParts(path, 'subject', () => nowMs);
  const onDisk = async (): Promise<number> => JSON.parse(await readFile(path, 'utf8')).parts.honest.done;
  kept.keeper.keep('honest', stateOf(64));
  await until(() => existsSync(path));
  assert.equal(await onDisk(), 64);
  kept.keeper.keep('honest', stateOf(128));
  nowMs = 9_999;
  kept.keeper.keep('honest', stateOf(192));
  await sleep(20);
  assert.equal(await onDisk(), 64);
  await kept.flush();
  assert.equal(await onDisk(), 192);
  nowMs = 20_000;
  kept.keeper.keep('honest', stateOf(256));
  await until(async () => (await onDisk()) === 256);
});

test('only the very same subject goes on from it', async (t) => {
  const path = await keptFile(t);
  const before = await openKeptParts(path, 'subject');
  before.keeper.keep('honest', stateOf(64));
  await before.flush();
  const [same, other] = [await openKeptParts(path, 'subject'), await openKeptParts(path, 'another')];
  assert.deepEqual([same.isResumed, same.keeper.read('honest')], [true, stateOf(64)]);
  assert.deepEqual([other.isResumed, other.keeper.read('honest')], [false, undefined]);
});

test('a failed write is thrown by the next keep, and by flush until one succeeds', async (t) => {
  const path = await keptFile(t);
  const blocked = join(path, '..');
  const opened = await openKeptParts(path, 'subject', () => 0);
  await writeFile(blocked, 'a file where the folder would be');
  const failed = { code: 'EEXIST' };
  opened.keeper.keep('honest', stateOf(64));
  await sleep(50);
  assert.throws(() => opened.keeper.keep('honest', stateOf(128)), failed);
  await assert.rejects(opened.flush(), failed);
  await rm(blocked);
  await opened.flush();
  assert.equal(JSON.parse(await readFile(path, 'utf8')).parts.honest.done, 128);
});

test('forgetting ignores a file that is not there and a write that failed', async (t) => {
  const path = await keptFile(t);
  const kept = await openKeptParts(path, 'subject');
  await kept.forget();
  await mkdir(path, { recursive: true });
  kept.keeper.keep('honest', stateOf(64));
  await sleep(20);
  await rm(path, { recursive: true });
  await kept.forget();
  await kept.flush();
  assert.ok(!existsSync(path));
});
