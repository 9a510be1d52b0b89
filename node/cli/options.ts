// Flags that several commands share, with their units and defaults, and the parsing of their values.

import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEVICES, type Device } from '../model/device.ts';
import { type ComputeRole, THREADS_HELP } from './compute.ts';

/** Flags of whoever joins the network. */
export interface NetworkOptions {
  readonly dataDir: string;
  readonly network: string;
  readonly join: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly loopback: boolean;
  readonly mdns: boolean;
  readonly relay: boolean;
  readonly maxDisk: number;
  readonly logLevel: string;
  readonly json: boolean;
}

/** Flags of whoever runs a model. */
export interface ComputeOptions {
  readonly device: Device;
  readonly threads?: number;
  readonly memory: number;
}

/** Data directory when none is given: MURMUR_HOME, else ~/.murmur. */
export function defaultDataDir(): string {
  return process.env['MURMUR_HOME'] || join(homedir(), '.murmur');
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  ki: 1024,
  mi: 1024 ** 2,
  gi: 1024 ** 3,
};

/** '10GB', '512MiB', '4096' → bytes. @throws InvalidArgumentError */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]i?)?b?$/i.exec(text.trim());
  const unit = SIZE_UNITS[(match?.[2] ?? '').toLowerCase()];
  if (match === null || unit === undefined) throw new InvalidArgumentError('expected a size such as 512MB or 10GB');
  return Math.round(Number(match[1]) * unit);
}

/** The largest count, seed or step that a flag takes. */
export const MAX_COUNT = 999_999_999;

export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number of 0 or more');
  return Number(text);
}

export function parsePositive(text: string): number {
  const value = parseCount(text);
  if (value === 0) throw new InvalidArgumentError('expected a whole number of 1 or more');
  return value;
}

export function parsePort(text: string): number {
  const value = parseCount(text);
  if (value > 65_534) throw new InvalidArgumentError('expected a port from 0 (any free one) to 65534');
  return value;
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

export function withDataDir(command: Command): Command {
  return command.addOption(
    new Option('--data-dir <dir>', 'where keys, records and weights are kept')
      .default(defaultDataDir(), '$MURMUR_HOME or ~/.murmur')
      .argParser((value: string) => resolve(value)),
  );
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON for machines', false);
}

export function withJoin(command: Command): Command {
  return command
    .option('--network <name>', 'name of the swarm to be in', 'main')
    .option(
      '--join <multiaddr>',
      'address of a peer to start from, such as /ip4/192.0.2.1/tcp/4001 (repeatable)',
      collect,
      [],
    );
}

/** Flags of a long-running participant. */
export function withNetwork(command: Command): Command {
  return withJson(withJoin(withDataDir(command)))
    .option('--host <ip>', 'IPv4 address to listen on', '0.0.0.0')
    .option('--port <n>', 'TCP port; WebSocket takes the next one; 0 takes any free ones', parsePort, 0)
    .option('--loopback', 'a swarm on this machine only: 127.0.0.1, no mDNS, limits by IP address loosened', false)
    .option('--no-mdns', 'do not look for peers on the local network')
    .option('--relay', 'relay traffic of peers that cannot be reached directly', false)
    .addOption(
      new Option('--max-disk <size>', 'most disk to use for bodies and weights')
        .argParser(parseBytes)
        .default(10e9, '10GB'),
    )
    .addOption(
      new Option('--log-level <level>', 'lowest level that is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    );
}

/** `--device` and `--threads` of whoever runs a model, or starts others who do. */
export function withPlacement(command: Command, role: ComputeRole): Command {
  return withDevice(command).option(
    '--threads <n>',
    `CPU threads of the model (default: ${THREADS_HELP[role]})`,
    parsePositive,
  );
}

export function withDevice(command: Command): Command {
  return command.addOption(
    new Option('--device <name>', 'what runs the model: webgpu is any GPU; `murmur devices` says what works here')
      .choices([...DEVICES])
      .default('cpu'),
  );
}

export function withCompute(command: Command, role: ComputeRole): Command {
  return withPlacement(command, role).addOption(
    new Option('--memory <size>', 'most memory for caches and loaded policies')
      .argParser(parseBytes)
      .default(2e9, '2GB'),
  );
}
