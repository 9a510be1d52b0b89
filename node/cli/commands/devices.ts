// `murmur devices`: what can run a model here.

import { Command } from 'commander';
import { withJson } from '../options.ts';

export interface DevicesOptions {
  readonly json: boolean;
}

export function devicesCommand(): Command {
  return withJson(new Command('devices'))
    .description('what can run a model here (--device), what is missing for the rest, what each hands back to the CPU')
    .addHelpText(
      'after',
      `
Threads (--threads) when nobody says: a node and a trainer take half of the
processors, a verifier a quarter, what runs alone (eval, warm-up) all; so two
roles on one machine do not fight. The demo gives each of its processes one, or
shares the machine among them for a model of more than 20 M parameters.

Examples:
  murmur devices
  murmur node --device webgpu --join /ip4/192.0.2.1/tcp/4001`,
    )
    .action(async (options: DevicesOptions) => {
      const { runDevices } = await import('../roles/devices.ts');
      process.exitCode = await runDevices(options);
    });
}
