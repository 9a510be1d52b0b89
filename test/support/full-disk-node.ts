// A murmur node on the small disk it is given, beside a ring that goes on publishing: fills the disk under it, waits until
// the node says so, makes room again, ends it, and says what it found. Runs inside a mount namespace of its own.

import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { askControl } from '../../node/cli/control.ts';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { createStore } from '../../node/store/store.ts';
import { type MurmurLab, murmurLab } from './murmur-process.ts';
import { silentLogger } from './silent-logger.ts';
import { withEndings } from './temp-dir.ts';

/** What the test reads. */
export interface FullDiskStory {
  /** newest policy before the disk was full, while it was, and after there was room */
  readonly readySteps: readonly [number, number, number];
  /** policies of before that were still there while the disk was full */
  readonly keptWhileFull: boolean;
  readonly exit: { readonly code: number | null; readonly signal: string | null };
  /** blobs left, and whether each is what its name says */
  readonly blobs: number;
  readonly blobsWhole: boolean;
}

interface Row {
  readonly policyStep: number;
  readonly here: boolean;
}
interface ChainRow {
  readonly readyStep: number | null;
  readonly problem: { readonly code: string } | null;
}

const LEFT_BYTES = 1_000_000;
const PATIENCE_MS = 60_000;

const [disk, ...flags] = process.argv.slice(2) as [string, ...string[]];
process.env['TMPDIR'] = disk;
process.stdout.write(JSON.stringify(await withEndings(async (t) => story(await murmurLab(t)))));

async function story(lab: MurmurLab): Promise<FullDiskStory> {
  const dir = lab.dataDir('node');
  const node = lab.start('node', ['node', ...flags]);
  await node.event('rollouts');
  const before = await chainWhere(dir, ({ readyStep }) => readyStep !== null);
  const kept = (await here(dir)).map(({ policyStep }) => policyStep);
  const filler = join(disk, 'filler');
  const { bavail, bsize } = await statfs(disk);
  await writeFile(filler, new Uint8Array(bavail * bsize - LEFT_BYTES));
  const full = await chainWhere(dir, ({ problem }) => problem?.code === 'DISK_FULL');
  const stillHere = new Set((await here(dir)).map(({ policyStep }) => policyStep));
  await rm(filler);
  const after = await chainWhere(
    dir,
    ({ problem, readyStep }) => problem === null && (readyStep ?? 0) > full.readyStep!,
  );
  const exit = await node.interrupt();
  return {
    readySteps: [before.readyStep!, full.readyStep!, after.readyStep!],
    keptWhileFull: kept.length > 0 && kept.every((step) => stillHere.has(step)),
    exit,
    ...(await blobsOf(dir)),
  };
}

async function chainWhere(dir: string, suits: (chain: ChainRow) => boolean): Promise<ChainRow> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const { recipes } = (await askControl(dir, 'status')) as { recipes: readonly ChainRow[] };
    const chain = recipes[0];
    if (chain !== undefined && suits(chain)) return chain;
    if (Date.now() > until) throw new Error(`waited in vain: ${JSON.stringify(chain)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function here(dir: string): Promise<readonly Row[]> {
  return ((await askControl(dir, 'weights')) as readonly Row[]).filter((row) => row.here);
}

async function blobsOf(dir: string): Promise<{ readonly blobs: number; readonly blobsWhole: boolean }> {
  const store = await createStore({ dir, maxDiskBytes: 2 ** 40, logger: silentLogger });
  let blobs = 0;
  let blobsWhole = true;
  for await (const { hashHex } of store.blobs.list()) {
    blobs++;
    blobsWhole &&= toHex(sha256(await store.blobs.get(hashHex))) === hashHex;
  }
  await store.close();
  return { blobs, blobsWhole };
}
