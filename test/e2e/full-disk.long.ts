// A node whose disk gets full while policies come: it says DISK_FULL, keeps all it has, and goes on once there is room.
// On a real small disk, where the system lets us mount one. And a node that may not use more of its disk than it was told.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { FullDiskStory } from '../support/full-disk-node.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { askUntil, startRing } from '../support/ring.ts';

const CHILD = join(import.meta.dirname, '..', 'support', 'full-disk-node.ts');
/** Five policies of the starter with their shards, and the records. */
const DISK = 'size=40m';
const run = promisify(execFile);

test('a full disk is named by the node that has it, and nothing whole is lost', { timeout: 300_000 }, async (t) => {
  const lab = await murmurLab(t);
  const mount = `mount -t tmpfs -o ${DISK} none "$1"`;
  const isAllowed = await run('unshare', ['-rm', 'sh', '-c', mount, 'sh', lab.dir]).then(
    () => true,
    () => false,
  );
  if (!isAllowed) return t.skip('this system does not let us mount a small disk');
  const { trainer, joined } = await startRing(lab);
  const script = `disk="$1"; shift; mount -t tmpfs -o ${DISK} none "$disk" && exec "$0" "$@"`;
  const child = ['-rm', 'sh', '-c', script, process.execPath, lab.dir, CHILD, lab.dir, ...joined];
  const { stdout } = await run('unshare', child, { timeout: 200_000 });
  const story = JSON.parse(stdout) as FullDiskStory;
  const [before, full, after] = story.readySteps;
  assert.ok(before <= full && full < after, JSON.stringify(story.readySteps));
  assert.equal(story.keptWhileFull, true);
  assert.deepEqual(story.exit, { code: 0, signal: null });
  assert.ok(story.blobs > 0);
  assert.equal(story.blobsWhole, true);
  await trainer.interrupt();
});

interface Status {
  readonly recipes: readonly {
    readonly readyStep: number | null;
    readonly problem: { readonly code: string } | null;
  }[];
  readonly disk: { readonly usedBytes: number; readonly maxBytes: number };
}

test('a node uses no more disk than --max-disk, and says that it needs more', { timeout: 120_000 }, async (t) => {
  const lab = await murmurLab(t);
  const { trainer, joined } = await startRing(lab);
  const node = lab.start('node', ['node', ...joined, '--max-disk', '6MB']);
  await node.event('rollouts');
  const { disk } = await askUntil<Status>(
    lab,
    'node',
    'status',
    ({ recipes }) => recipes[0]?.problem?.code === 'DISK_BUDGET',
  );
  assert.equal(disk.maxBytes, 6_000_000);
  assert.ok(disk.usedBytes > 3_000_000 && disk.usedBytes <= 6_000_000, JSON.stringify(disk));
  await node.interrupt();
  await trainer.interrupt();
});
