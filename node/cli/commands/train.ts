// `murmur train`: take recipes, run GRPO on accepted rollouts, publish weights.

import { Command, Option } from 'commander';
import { MODEL_HELP, MODEL_OPTION } from '../model-help.ts';
import {
  type ComputeOptions,
  type NetworkOptions,
  parseCount,
  parsePositive,
  withCompute,
  withNetwork,
} from '../options.ts';
import { SHIPPED_RECIPES } from '../shipped.ts';

export interface TrainOptions extends NetworkOptions, ComputeOptions {
  readonly recipe?: string;
  readonly model?: string;
  readonly accept: 'author' | 'all' | 'none';
  readonly verify: boolean;
  readonly recompute: boolean;
  readonly deterministic: boolean;
  readonly evalEvery: number;
  readonly evalTasks: number;
  readonly maxSteps?: number;
  readonly seed: number;
}

export function trainCommand(): Command {
  return withCompute(withNetwork(new Command('train')), 'train')
    .description('train: GRPO on accepted rollouts within the staleness bound, new weights to everybody')
    .option(
      '--recipe <file|name>',
      `publish and train this recipe: a file, or the name of a shipped one (${SHIPPED_RECIPES})`,
    )
    .option('--model <dir|hub id>', MODEL_OPTION)
    .addOption(
      new Option('--accept <whose>', "whose submitted recipes to train: your own, anybody's, or none")
        .choices(['author', 'all', 'none'])
        .default('author'),
    )
    .option('--no-verify', 'run no verifier inside; the recipe must name others')
    .option('--recompute', 'compute activations anew on the way back: less memory, a third more time', false)
    .option(
      '--deterministic',
      'full batches only, each chosen when all groups announced by then are settled; one thread. The same policy and accepted groups then give the same batch in the same order, and on the CPU of one machine the same weights. Which groups have come by then is up to the swarm: two runs still differ',
      false,
    )
    .option('--eval-every <steps>', 'evaluate on held-out tasks every so many steps, 0 for never', parseCount, 10)
    .option('--eval-tasks <n>', 'held-out tasks of an evaluation', parsePositive, 512)
    .option('--max-steps <n>', 'stop after this policy step', parsePositive)
    .option('--seed <n>', 'seed of the held-out tasks', parseCount, 0)
    .addHelpText(
      'after',
      `
${MODEL_HELP}

Examples:
  murmur train --recipe arrows                   the smallest swarm: this and
                                                 one murmur node
  murmur train --accept all --model ./my-llama   anybody's recipes for it
  murmur train --recipe my.yaml --no-verify      the recipe names the verifiers
  murmur train --recipe arrows --deterministic   the same groups give the same
                                                 batch, in whatever order`,
    )
    .action(async (options: TrainOptions) => {
      const { runTrain } = await import('../roles/train.ts');
      process.exitCode = await runTrain(options);
    });
}
