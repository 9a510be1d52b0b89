// `murmur demo` (= `npm start`): one trainer, one verifier, some nodes and a liar, as processes on this machine.

import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import type { Device } from '../../model/device.ts';
import { choosePlacement } from '../compute.ts';
import { renderSummary } from '../demo/display.ts';
import { runDemo } from '../demo/run.ts';
import { EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK } from '../exit-codes.ts';
import { MODEL_HELP, MODEL_OPTION } from '../model-help.ts';
import { defaultDataDir, parseCount, parsePositive, withDevice } from '../options.ts';

interface DemoOptions {
  readonly seed?: number;
  readonly dataDir?: string;
  readonly steps: number;
  readonly nodes: number;
  readonly jsonFile?: string;
  readonly model?: string;
  readonly device: Device;
}

export function demoCommand(): Command {
  return withDevice(new Command('demo'))
    .description('watch a whole swarm learn: trainer, verifier, nodes and a liar as processes on this machine')
    .option('--seed <n>', 'seed of the trainer and of the held-out tasks (default: a random one)', parseCount)
    .option('--data-dir <dir>', 'where everything is left (default: a new folder under ~/.murmur)')
    .option('--steps <n>', 'stop after this many policy steps at the latest', parsePositive, 120)
    .option('--nodes <n>', 'honest contributor nodes', parsePositive, 3)
    .option('--json-file <file>', 'write the result as JSON too')
    .option('--model <dir|hub id>', MODEL_OPTION)
    .addHelpText(
      'after',
      `
${MODEL_HELP}

Examples:
  murmur demo                                 about four minutes on two cores
  murmur demo --seed 7 --json-file out.json   the result for machines
  murmur demo --data-dir /tmp/swarm --nodes 2
  murmur demo --model ./exported              go on from a policy that murmur export wrote`,
    )
    .action(async (options: DemoOptions) => {
      process.exitCode = await demo(options);
    });
}

async function demo(options: DemoOptions): Promise<number> {
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 31);
  const stamp = new Date().toISOString().replace(/[-:]/g, '').slice(0, 15);
  const dataDir = resolve(options.dataDir ?? join(defaultDataDir(), `demo-${stamp}`));
  await choosePlacement(options, 'alone');
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  process.stdout.write(
    `Starting a swarm of ${options.nodes + 3} processes on 127.0.0.1: a trainer, a verifier, ${options.nodes} nodes and a liar (seed ${seed}).\n` +
      `Follow the arrows: in ad,bf,ca,de,eb,fc:a3= go 3 hops from a. Thinking first (<d2e1b0>b) is right, blurting (b) is mostly wrong.\n` +
      `Ctrl-C stops everything. Logs and data: ${dataDir}\n\n`,
  );
  const result = await runDemo({
    dataDir,
    seed,
    maxSteps: options.steps,
    nodes: options.nodes,
    model: options.model,
    device: options.device,
    out: process.stdout,
    signal: interrupt.signal,
  });
  if (options.jsonFile !== undefined) await writeFile(options.jsonFile, `${JSON.stringify(result.summary, null, 2)}\n`);
  process.stdout.write(renderSummary(result.summary, dataDir, result.learned));
  if (result.interrupted) return EXIT_INTERRUPTED;
  return result.learned || result.summary.steps >= options.steps ? EXIT_OK : EXIT_FAILED;
}
