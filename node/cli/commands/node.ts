// `murmur node`: contribute rollouts. Follows open recipes, fetches policies, generates, announces, serves.

import { type Command, Command as CommanderCommand, Option } from 'commander';
import { type ComputeOptions, type NetworkOptions, withCompute, withNetwork } from '../options.ts';

export interface NodeOptions extends NetworkOptions, ComputeOptions {
  readonly recipe?: string;
  readonly alterWeights?: string;
}

export function nodeCommand(): Command {
  return withCompute(withNetwork(new CommanderCommand('node')), 'node')
    .description('contribute rollouts: generate with the newest policy, announce, serve')
    .option(
      '--recipe <id|name>',
      'work on this recipe only; the beginning of an id is enough (default: the newest open one)',
    )
    .addOption(
      new Option(
        '--alter-weights <scale>',
        'lie: add noise to the weights (loopback swarms only, for the demo)',
      ).hideHelp(),
    )
    .addHelpText(
      'after',
      `
Examples:
  murmur node                                  peers of the local network and
                                               those known from before
  murmur node --join /ip4/192.0.2.1/tcp/4001   start from a peer
  murmur node --port 4001 --threads 4 --max-disk 20GB
  murmur node --json | jq 'select(.event == "rollouts")'`,
    )
    .action(async (options: NodeOptions) => {
      const { runNode } = await import('../roles/node.ts');
      process.exitCode = await runNode(options);
    });
}
