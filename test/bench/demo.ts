// The demo as a whole: the most memory that all of its processes hold together, over its first minutes. Only on request.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchContext, type Benchmark, type Row, row } from './harness.ts';
import { canReadProcesses, processTree, residentBytes } from './processes.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'node', 'cli', 'main.ts');
const WATCH_MS = 120_000;
const STEP_MS = 500;
const STOP_MS = 20_000;
const MEMORY_MB = 3_000;

async function run({ note }: BenchContext): Promise<readonly Row[]> {
  if (!canReadProcesses) {
    note('  left out: reading other processes needs /proc');
    return [];
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'murmur-bench-demo-'));
  const child = spawn(process.execPath, [MAIN, 'demo', '--data-dir', dataDir], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise<'exited'>((resolve) => child.once('exit', () => resolve('exited')));
  let most = 0;
  let processes = 0;
  let endedBy: number | null = null;
  let tree: number[] = [];
  try {
    const end = performance.now() + WATCH_MS;
    while (performance.now() < end && child.exitCode === null) {
      tree = processTree(child.pid!);
      most = Math.max(
        most,
        tree.map(residentBytes).reduce((sum, bytes) => sum + bytes, 0),
      );
      processes = Math.max(processes, tree.length);
      await Promise.race([exited, sleep(STEP_MS)]);
    }
    endedBy = child.exitCode;
  } finally {
    child.kill('SIGINT');
    if ((await Promise.race([exited, sleep(STOP_MS, 'late', { ref: false })])) === 'late') killAll(tree);
    await exited;
    await rm(dataDir, { recursive: true, force: true });
  }
  if (endedBy !== null && endedBy !== 0) {
    note(`  left out: the demo ended by itself with code ${endedBy}`);
    return [];
  }
  const target = { of: 'value', atMost: MEMORY_MB } as const;
  return [row({ name: `demo: memory of ${processes} processes`, value: most / 1e6, unit: 'MB', target })];
}

/** The demo and what it started, when it does not stop by itself. */
function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone already: nothing is left to stop.
    }
  }
}

export const demo: Benchmark = { name: 'demo', isLong: true, run };
