// `murmur continue <recipe>`: the author's word on a chain: which of two policies of one step goes on, and which keys do not.

import { Command } from 'commander';
import { withDataDir, withJson } from '../options.ts';

export interface ContinueOptions {
  readonly dataDir: string;
  readonly json: boolean;
  readonly root: string;
  readonly revoke: readonly string[];
}

export function continueCommand(): Command {
  return withJson(withDataDir(new Command('continue')))
    .description("as a recipe's author: name the policy to go on with, revoke trainer keys")
    .argument('<recipe>', 'a recipe of yours: id, its beginning, or name')
    .requiredOption('--root <root>', 'root (or its beginning) of the policy to go on with; murmur weights lists them')
    .option(
      '--revoke <key>',
      'a trainer key (or its beginning) that signs nothing from that step on (repeatable)',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .addHelpText(
      'after',
      `
When a trainer signed two policies for one step, everybody follows neither and
waits for the recipe's author. This is also how a trainer's key is revoked. The
node that holds your key has to run on the data directory.

Examples:
  murmur continue my-sums --root 3f9a2c41
  murmur continue my-sums --root 3f9a2c41 --revoke 77ab01de`,
    )
    .action(async (recipe: string, { dataDir, json, root, revoke }: ContinueOptions) => {
      const { askControl } = await import('../control.ts');
      const { tree } = await import('../table.ts');
      const said = (await askControl(dataDir, 'continue', { recipe, root, revoke })) as Readonly<
        Record<string, unknown>
      >;
      process.stdout.write(json ? `${JSON.stringify(said)}\n` : tree(said));
    });
}
