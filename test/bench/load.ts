// Loading a model folder: the most memory that the process ever held, over the weights' size as float32, and the time,
// beside that of only reading the same bytes. Shape: 135 M parameters (SmolLM2-135M's), random weights, stored as bf16
// and as f32.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { saveModelFolder } from '../../node/model/folder.ts';
import { type BenchContext, type Benchmark, median, millisecondsOf, type Row, row } from './harness.ts';
import { canReadProcesses } from './processes.ts';
import { largeModel } from './shapes.ts';

const ROUNDS = 3;
const MAX_RATIO = 1.3;

interface Loaded {
  readonly parameters: number;
  readonly milliseconds: number;
  readonly peakBytes: number;
}

async function loaded(folder: string): Promise<Loaded> {
  const child = join(import.meta.dirname, 'load-child.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [child, folder]);
  return JSON.parse(stdout) as Loaded;
}

async function measured(folder: string, dtype: 'F32' | 'BF16'): Promise<Row[]> {
  const rounds: { readonly loaded: Loaded; readonly readMs: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const readMs = await millisecondsOf(() => readFile(join(folder, 'model.safetensors')));
    rounds.push({ loaded: await loaded(folder), readMs });
  }
  const bytes = 4 * rounds[0]!.loaded.parameters;
  return [
    row({
      name: `load 135 M from ${dtype}: peak memory`,
      value: Math.max(...rounds.map((round) => round.loaded.peakBytes)) / 1e6,
      unit: 'MB',
      peer: 'weights as f32',
      peerValue: bytes / 1e6,
      target: { of: 'ratio', atMost: MAX_RATIO },
    }),
    row({
      name: `load 135 M from ${dtype}: time`,
      value: median(rounds.map((round) => round.loaded.milliseconds)),
      unit: 'ms',
      peer: 'reading the file',
      peerValue: median(rounds.map((round) => round.readMs)),
      ratio: median(rounds.map((round) => round.loaded.milliseconds / round.readMs)),
    }),
  ];
}

async function run({ note }: BenchContext): Promise<readonly Row[]> {
  if (!canReadProcesses) {
    note('  left out: the most memory that a process held is read from /proc');
    return [];
  }
  const folder = await mkdtemp(join(tmpdir(), 'murmur-bench-load-'));
  try {
    const model = largeModel();
    const rows: Row[] = [];
    for (const dtype of ['BF16', 'F32'] as const) {
      await saveModelFolder(folder, model, dtype);
      rows.push(...(await measured(folder, dtype)));
    }
    return rows;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const load: Benchmark = { name: 'load', run };
