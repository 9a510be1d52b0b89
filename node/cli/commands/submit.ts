// `murmur submit <recipe>`: fill in the keys of a trainer that offers, sign, announce.

import { Command } from 'commander';
import { MODEL_HELP, MODEL_OPTION } from '../model-help.ts';
import { withDataDir, withJoin, withJson } from '../options.ts';
import { SHIPPED_RECIPES } from '../shipped.ts';

export interface SubmitOptions {
  readonly dataDir: string;
  readonly network: string;
  readonly join: readonly string[];
  readonly json: boolean;
  readonly model?: string;
  readonly trainer?: string;
  readonly verifier: readonly string[];
  readonly loopback: boolean;
  readonly dryRun: boolean;
}

export function submitCommand(): Command {
  return withJson(withJoin(withDataDir(new Command('submit'))))
    .description('submit a recipe: YAML or JSON, checked, signed, announced to the trainers')
    .argument('<recipe>', `a recipe file, or the name of a shipped one (${SHIPPED_RECIPES})`)
    .option('--model <dir|hub id>', MODEL_OPTION)
    .option('--trainer <key>', 'public key (or its beginning) of the trainer to ask (default: the first that offers)')
    .option(
      '--verifier <key>',
      'name a verifier besides those of the trainer (repeatable)',
      (v: string, p: string[]) => [...p, v],
      [],
    )
    .option('--loopback', 'a swarm on this machine only', false)
    .option('--dry-run', 'check and print the recipe, announce nothing', false)
    .addHelpText(
      'after',
      `
With a node running on the data directory the recipe is signed by its key; else
by the key of the data directory, and --join names a peer to hand it to.

${MODEL_HELP}

Examples:
  murmur submit arrows
  murmur submit my-recipe.yaml --join /ip4/192.0.2.1/tcp/4001
  murmur submit my-recipe.yaml --dry-run --json`,
    )
    .action(async (recipe: string, options: SubmitOptions) => {
      const { runSubmit } = await import('../roles/submit.ts');
      process.exitCode = await runSubmit(recipe, options);
    });
}
