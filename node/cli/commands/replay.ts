// `murmur replay`: repeats a verdict's evidence on this machine, or checks a whole group.

import { Command } from 'commander';
import { type ComputeOptions, withCompute, withDataDir, withJoin, withJson } from '../options.ts';

export interface ReplayOptions extends ComputeOptions {
  readonly dataDir: string;
  readonly network: string;
  readonly join: readonly string[];
  readonly loopback: boolean;
  readonly json: boolean;
  readonly by?: string;
  readonly whole: boolean;
}

export function replayCommand(): Command {
  return withCompute(withJson(withJoin(withDataDir(new Command('replay')))), 'alone')
    .description("repeat a verdict's evidence on this machine; without a rejection, every check of the whole group")
    .argument('<groupId>', 'a group id or its beginning; murmur rollouts and murmur verdicts show them')
    .option('--by <peer>', "this verifier's verdict (the end of its peer id is enough; default: the newest rejection)")
    .option('--whole', 'the whole group, whatever a verdict names', false)
    .option('--loopback', 'with --join: a swarm on this machine only', false)
    .addHelpText(
      'after',
      `
Takes group, body and weights from the data directory, whether a node runs there
or has stopped, and replays them itself; with --join it asks a swarm for them as
an observer. Bodies are kept for maxLagSteps + 2 policy steps, policies for
keepPolicies. Exits 0 when the verdict agrees with what is found here (or there
is no verdict, or it cannot be decided), 1 when it does not.

Examples:
  murmur replay 3f9a2c
  murmur replay 3f9a2c --data-dir ~/.murmur/demo-20261122T1800
  murmur replay 3f9a2c --by kX81fQpw --whole --json
  murmur replay 3f9a2c --join /ip4/192.0.2.1/tcp/4001`,
    )
    .action(async (groupId: string, options: ReplayOptions) => {
      const { runReplay } = await import('../roles/replay.ts');
      process.exitCode = await runReplay(groupId, options);
    });
}
