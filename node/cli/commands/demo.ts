// `murmur demo` (= `npm start`): one trainer, one verifier, some nodes and a liar, as processes on this machine.

import { Command, InvalidArgumentError } from 'commander';
import type { Device } from '../../model/device.ts';
import { MODEL_HELP, MODEL_OPTION } from '../model-help.ts';
import { parseCount, parsePositive, withDevice } from '../options.ts';
import { SHIPPED_RECIPES } from '../shipped.ts';

export interface DemoOptions {
  readonly recipe: string;
  readonly model?: string;
  readonly goal?: number;
  readonly steps?: number;
  readonly nodes?: number;
  readonly liar: boolean;
  readonly evalTasks?: number;
  readonly seed?: number;
  readonly dataDir?: string;
  readonly jsonFile?: string;
  readonly device: Device;
}

function parseAccuracy(text: string): number {
  const share = Number(text);
  if (text.trim() === '' || !(share >= 0 && share <= 1)) {
    throw new InvalidArgumentError('expected a share from 0 to 1, such as 0.8');
  }
  return share;
}

/** More processes than this are no demo: nodes may run on other machines, with `murmur node`. */
const MAX_NODES = 32;

function parseNodes(text: string): number {
  const value = parseCount(text);
  if (value < 1 || value > MAX_NODES) throw new InvalidArgumentError(`expected a whole number from 1 to ${MAX_NODES}`);
  return value;
}

export function demoCommand(): Command {
  return withDevice(new Command('demo'))
    .description('watch a whole swarm learn: trainer, verifier, nodes and a liar as processes on this machine')
    .option(
      '--recipe <file|name>',
      `what to learn: a file, or the name of a shipped recipe (${SHIPPED_RECIPES})`,
      'arrows',
    )
    .option('--model <dir|hub id>', MODEL_OPTION)
    .option(
      '--goal <accuracy>',
      'end after two evaluations in a row at this held-out accuracy, 0 to 1 (default: three quarters of the way from the first one to 1; for arrows at least 0.93, and 0.38 above the first)',
      parseAccuracy,
    )
    .option(
      '--steps <n>',
      "stop after this many policy steps at the latest (default: the recipe's, else 120)",
      parsePositive,
    )
    .option(
      '--nodes <n>',
      'honest contributor nodes (default: 3, or 1 with a model of more than 20 M parameters)',
      parseNodes,
    )
    .option('--no-liar', 'start no liar')
    .option(
      '--eval-tasks <n>',
      'held-out tasks, asked before training and every 5 steps (default: 512, or 128 with a model of more than 20 M parameters)',
      parsePositive,
    )
    .option('--seed <n>', 'seed of the trainer and of the held-out tasks (default: a random one)', parseCount)
    .option(
      '--data-dir <dir>',
      'where everything is left, new or empty (default: a new folder in $MURMUR_HOME or ~/.murmur)',
    )
    .option('--json-file <file>', 'write the result as JSON too')
    .addHelpText(
      'after',
      `
${MODEL_HELP}

Whoever wrote the recipe, the demo's own trainer and verifier stand in for the
keys that it names.

Examples:
  murmur demo                                 one to five minutes on two cores
  murmur demo --seed 7 --json-file out.json   the result for machines
  murmur demo --data-dir /tmp/swarm --nodes 2
  murmur demo --model ./exported              go on from an exported policy
  murmur demo --recipe largest --model ./SmolLM2-135M-Instruct --no-liar
                                              a pretrained model, another task
  murmur demo --recipe my.yaml --goal 0.8 --steps 40`,
    )
    .action(async (options: DemoOptions) => {
      const { demo } = await import('../demo/demo.ts');
      process.exitCode = await demo(options);
    });
}
