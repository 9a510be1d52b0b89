// `murmur verify`: check other peers' rollouts and say so, with evidence.

import { Command } from 'commander';
import { type ComputeOptions, type NetworkOptions, withCompute, withNetwork } from '../options.ts';

export interface VerifyOptions extends NetworkOptions, ComputeOptions {
  readonly recipe?: string;
}

export function verifyCommand(): Command {
  return withCompute(withNetwork(new Command('verify')), 'verify')
    .description('check rollouts: replay a secret sample, compare activations, publish verdicts with evidence')
    .option('--recipe <id|name>', 'verify this recipe only; the beginning of an id is enough (default: every open one)')
    .addHelpText(
      'after',
      `
Your verdicts count for others where a recipe names your key (murmur id) under
verification.verifiers.

Examples:
  murmur verify --join /ip4/192.0.2.1/tcp/4001
  murmur verify --recipe arrows --json`,
    )
    .action(async (options: VerifyOptions) => {
      const { runVerify } = await import('../roles/verify.ts');
      process.exitCode = await runVerify(options);
    });
}
