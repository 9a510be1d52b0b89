// A node with nothing to do: memory and CPU of `murmur node` on a loopback network of its own, after it has settled.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchContext, type Benchmark, type Row, row } from './harness.ts';
import { canReadProcesses, cpuMilliseconds, residentBytes } from './processes.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'node', 'cli', 'main.ts');
const SETTLE_MS = 8_000;
const WATCH_MS = 15_000;
const STOP_MS = 10_000;

const MEMORY_MB = 250;
const CPU_PERCENT = 5;

async function run({ note }: BenchContext): Promise<readonly Row[]> {
  if (!canReadProcesses) {
    note('  left out: reading other processes needs /proc');
    return [];
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'murmur-bench-node-'));
  const args = ['node', '--data-dir', dataDir, '--loopback', '--network', `bench-${process.pid}`, '--json'];
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  const exited = new Promise<'exited'>((resolve) => child.once('exit', () => resolve('exited')));
  try {
    if ((await Promise.race([exited, sleep(SETTLE_MS)])) === 'exited') {
      note(`  left out: murmur node ended by itself: ${complaint.trim().split('\n').at(-1) ?? ''}`);
      return [];
    }
    return await watch(child.pid!);
  } finally {
    child.kill('SIGINT');
    if ((await Promise.race([exited, sleep(STOP_MS, 'late', { ref: false })])) === 'late') child.kill('SIGKILL');
    await exited;
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function watch(pid: number): Promise<readonly Row[]> {
  const cpuBefore = cpuMilliseconds(pid);
  const start = performance.now();
  await sleep(WATCH_MS);
  const percent = (100 * (cpuMilliseconds(pid) - cpuBefore)) / (performance.now() - start);
  return [
    row({
      name: 'node at rest: memory',
      value: residentBytes(pid) / 1e6,
      unit: 'MB',
      target: { of: 'value', atMost: MEMORY_MB },
    }),
    row({
      name: 'node at rest: CPU',
      value: percent,
      unit: '% of a core',
      target: { of: 'value', atMost: CPU_PERCENT },
    }),
  ];
}

export const nodeAtRest: Benchmark = { name: 'node-at-rest', run };
