// Runs `murmur devices`: tries each device, and lists what the model's graphs hand back to the CPU on those that work.
// The starter model's graphs stand for all: what is handed back depends on operators, not on sizes.

import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { buildLogprobGraph, buildTrainingGraph } from '../../../trainer/training-graph.ts';
import { type ModelConfig, parseModelConfig } from '../../model/config.ts';
import { DEVICES, type Device } from '../../model/device.ts';
import { type NodePlacement, nodePlacement } from '../../model/engine/handed-back.ts';
import { checkDevice } from '../../model/engine/open-session.ts';
import { neg, reduceSum } from '../../model/graph/ops.ts';
import type { BuiltGraph } from '../../model/llama/built-graph.ts';
import { buildCompletionGraph } from '../../model/llama/completion.ts';
import { buildDecodeGraph } from '../../model/llama/decode.ts';
import { isSwarmError } from '../../protocol/errors.ts';
import type { DevicesOptions } from '../commands/devices.ts';
import { chooseThreads, DEVICE_NOTE } from '../compute.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { starterModelDir } from '../shipped.ts';

/** One device and what is known of it. */
interface DeviceReport {
  readonly device: Device;
  readonly usable: boolean;
  /** why not, or what one has to know */
  readonly note: string | null;
  /** of a GPU: by the graph's name */
  readonly graphs: Readonly<Record<string, NodePlacement>>;
}

function graphsOf(config: ModelConfig): Readonly<Record<string, () => BuiltGraph>> {
  return {
    generation: () => buildDecodeGraph(config, 'probabilities', 'device'),
    replay: () => buildCompletionGraph(config, 'scores'),
    'log-probs': () => buildLogprobGraph(config),
    training: () => buildTrainingGraph(config, (_graph, { logprobs }) => neg(reduceSum(logprobs))),
  };
}

async function reportOn(device: Device, config: ModelConfig): Promise<DeviceReport> {
  const note = DEVICE_NOTE[device];
  if (device === 'cpu') return { device, usable: true, note, graphs: {} };
  try {
    await checkDevice(device);
  } catch (error) {
    if (!isSwarmError(error, 'DEVICE_UNAVAILABLE')) throw error;
    return { device, usable: false, note: error.message, graphs: {} };
  }
  const graphs: Record<string, NodePlacement> = {};
  for (const [name, build] of Object.entries(graphsOf(config)))
    graphs[name] = await nodePlacement(build(), { device, threads: 1 });
  return { device, usable: true, note, graphs };
}

function describe({ device, usable, note, graphs }: DeviceReport): string {
  const lines = [`${device.padEnd(8)}${usable ? 'works' : 'does not work'}${note === null ? '' : `: ${note}`}`];
  for (const [name, { onDevice, handedBack }] of Object.entries(graphs)) {
    const ops = handedBack.map(({ op, nodes, bytes }) => `${nodes} ${op} (${bytes} bytes)`).join(', ');
    lines.push(`        ${name}: ${onDevice} operators on the device; on the CPU: ${ops || 'none'}`);
  }
  return `${lines.join('\n')}\n`;
}

export async function runDevices(options: DevicesOptions): Promise<number> {
  const config = parseModelConfig(JSON.parse(await readFile(join(starterModelDir(), 'config.json'), 'utf8')));
  const reports: DeviceReport[] = [];
  for (const device of DEVICES) reports.push(await reportOn(device, config));
  const processors = availableParallelism();
  const threads = { node: chooseThreads(undefined, 'node'), train: chooseThreads(undefined, 'train') };
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ processors, devices: reports })}\n`
      : `${reports.map(describe).join('')}${processors} processors: by default a node takes ${threads.node} threads, a trainer ${threads.train}\n`,
  );
  return EXIT_OK;
}
