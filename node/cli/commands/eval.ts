// `murmur eval`: accuracy of a policy on a recipe's held-out tasks.

import { Command } from 'commander';
import { MODEL_HELP } from '../model-help.ts';
import { type ComputeOptions, parseCount, parsePositive, withCompute, withDataDir, withJson } from '../options.ts';

export interface EvalOptions extends ComputeOptions {
  readonly dataDir: string;
  readonly json: boolean;
  readonly recipe?: string;
  readonly model?: string;
  readonly step?: number;
  readonly tasks: number;
  readonly seed?: number;
  readonly samples: number;
}

export function evalCommand(): Command {
  return withCompute(withJson(withDataDir(new Command('eval'))), 'alone')
    .description("held-out accuracy of a policy, sampled at the recipe's temperature with fixed seeds")
    .option('--recipe <file|id|name>', "whose tasks (default: the data directory's recipe; arrows with --model)")
    .option('--model <dir|hub id>', "a model to evaluate instead of the data directory's policies")
    .option('--step <n>', 'policy step (default: the newest that is here)', parseCount)
    .option('--tasks <n>', 'held-out tasks', parsePositive, 512)
    .option('--seed <n>', "seed of tasks and sampling (default: the demo's on its data directory, else 0)", parseCount)
    .option('--samples <n>', 'completions to show', parseCount, 3)
    .addHelpText(
      'after',
      `
${MODEL_HELP}

Examples:
  murmur eval --data-dir ~/.murmur/demo-20261122T1800
  murmur eval --model recipes/starter --recipe arrows --tasks 2048`,
    )
    .action(async (options: EvalOptions) => {
      const { runEval } = await import('../roles/eval.ts');
      process.exitCode = await runEval(options);
    });
}
