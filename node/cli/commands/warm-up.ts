// `murmur warm-up`: makes a small model that knows a recipe's tasks a little, for GRPO to begin with.

import { Command, InvalidArgumentError, Option } from 'commander';
import type { Device } from '../../model/device.ts';
import { parseCount, parsePositive, withPlacement } from '../options.ts';
import { starterModelDir } from '../shipped.ts';

export interface WarmUpOptions {
  readonly recipe: string;
  readonly out: string;
  readonly base: string;
  readonly seed: number;
  readonly steps?: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly checkpointEvery: number;
  readonly evalTasks: number;
  readonly device: Device;
  readonly threads?: number;
  readonly json: boolean;
}

function parseRate(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('expected a number over 0');
}

export function warmUpCommand(): Command {
  return withPlacement(new Command('warm-up'), 'alone')
    .description("supervised warm-up on a recipe's own generated tasks: a model folder for `murmur train --model`")
    .option('--recipe <file|name>', 'whose tasks to imitate: a file, or the name of a shipped recipe', 'arrows')
    .option('--out <dir>', 'where the model folder goes', './warm-up')
    .addOption(
      new Option('--base <dir>', 'config.json and tokenizer of the model to make; its weights are not read').default(
        starterModelDir(),
        'the starter model',
      ),
    )
    .option('--seed <n>', 'seed of the weights and of the problems', parseCount, 1)
    .option('--steps <n>', 'steps altogether; the last fifth or so shows mostly blurting', parsePositive)
    .option('--batch <n>', 'sequences a step', parsePositive, 128)
    .option('--learning-rate <x>', 'AdamW learning rate', parseRate, 1e-3)
    .option('--checkpoint-every <steps>', 'steps between checkpoints (in <out>.checkpoints)', parsePositive, 100)
    .option('--eval-tasks <n>', 'held-out tasks to sample at the end, 0 for none', parseCount, 512)
    .option('--json', 'print JSON lines for machines', false)
    .addHelpText(
      'after',
      `
Stopped by Ctrl-C it writes a checkpoint; the same command goes on from there.

Examples:
  murmur warm-up                                   the starter model once more,
                                                   some minutes on two cores
  murmur warm-up --recipe sums --out ./sums-model  one that does chain sums
  murmur train --recipe arrows --model ./warm-up   train it further in a swarm`,
    )
    .action(async (options: WarmUpOptions) => {
      const { runWarmUp } = await import('../roles/warm-up.ts');
      process.exitCode = await runWarmUp(options);
    });
}
