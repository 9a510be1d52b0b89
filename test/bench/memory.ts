// The most memory that training holds, each in a process of its own: whole steps (update, policy, checkpoint) of 4096 tokens on
// the 135 M shape, all weights and adapters; and one GRPO step of 8 × 256 tokens on the shape of Qwen2.5-0.5B, which takes
// minutes and, by the sizes of what it holds, some 16 GB.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BenchContext, type Benchmark, type Row, row } from './harness.ts';
import type { Taken } from './memory-child.ts';
import { canReadProcesses } from './processes.ts';
import { halfBillionModel, parameterCount } from './shapes.ts';

const PARAMETERS = 134_515_008;
const ADAM_GB = 6;
const LORA_GB = 3;

async function taken(what: 'adam' | 'lora' | 'half-billion', threads: number): Promise<Taken> {
  const child = join(import.meta.dirname, 'memory-child.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [child, what, String(threads)]);
  return JSON.parse(stdout) as Taken;
}

function peakRow(name: string, { peakBytes }: Taken, parameters: number, atMost?: number): Row {
  return row({
    name: `${name}: peak memory`,
    value: peakBytes / 1e9,
    unit: 'GB',
    peer: 'weights as f32',
    peerValue: (4 * parameters) / 1e9,
    ...(atMost === undefined ? {} : { target: { of: 'value', atMost } as const }),
  });
}

function canMeasure({ note }: BenchContext): boolean {
  if (!canReadProcesses) note('  left out: the most memory that a process held is read from /proc');
  return canReadProcesses;
}

export const memory: Benchmark = {
  name: 'training-memory',
  async run(context) {
    if (!canMeasure(context)) return [];
    const adam = await taken('adam', context.threads);
    const lora = await taken('lora', context.threads);
    return [
      peakRow('training 135 M, 4096 tokens, Adam', adam, PARAMETERS, ADAM_GB),
      peakRow('training 135 M, 4096 tokens, LoRA', lora, PARAMETERS, LORA_GB),
      row({
        name: 'training 135 M, 4096 tokens, LoRA: an update',
        value: lora.updatingMs,
        unit: 'ms',
        peer: 'with Adam on all weights',
        peerValue: adam.updatingMs,
      }),
    ];
  },
};

export const halfBillion: Benchmark = {
  name: 'half-billion',
  isLong: true,
  async run(context) {
    if (!canMeasure(context)) return [];
    const { config } = halfBillionModel();
    const step = await taken('half-billion', context.threads);
    const part = (name: string, milliseconds: number): Row =>
      row({ name: `GRPO step, 0.5 B, 8 × 256: ${name}`, value: milliseconds / 1000, unit: 's' });
    return [
      part('generation', step.generatingMs),
      part('update', step.updatingMs),
      peakRow('GRPO step, 0.5 B, 8 × 256', step, parameterCount(config)),
    ];
  },
};
