// The `murmur` program: its commands, how errors are shown, and what it exits with.
// Commands only read flags here; what runs a role is imported when it is needed, so that --help is quick.

import { Command, CommanderError, Help, type Option } from 'commander';
import { type ErrorCode, errorText, SwarmError } from '../protocol/errors.ts';
import { calibrateCommand } from './commands/calibrate.ts';
import { chatCommand } from './commands/chat.ts';
import { continueCommand } from './commands/continue.ts';
import { demoCommand } from './commands/demo.ts';
import { devicesCommand } from './commands/devices.ts';
import { evalCommand } from './commands/eval.ts';
import { exportCommand } from './commands/export.ts';
import { idCommand } from './commands/id.ts';
import { inspectCommands } from './commands/inspect.ts';
import { nodeCommand } from './commands/node.ts';
import { replayCommand } from './commands/replay.ts';
import { submitCommand } from './commands/submit.ts';
import { trainCommand } from './commands/train.ts';
import { verifyCommand } from './commands/verify.ts';
import { warmUpCommand } from './commands/warm-up.ts';
import { EXIT_CODE_HELP, EXIT_FAILED, EXIT_OK, EXIT_USAGE, exitCodeOf } from './exit-codes.ts';
import { packageVersion } from './shipped.ts';

/** The whole command line, parsed but not run: every command exits by throwing a CommanderError. */
export function createProgram(): Command {
  const program = new Command('murmur')
    .description('Murmuration: a permissionless swarm that post-trains language models with reinforcement learning')
    .version(packageVersion())
    .showHelpAfterError('(see murmur --help)')
    .configureHelp({ optionDescription })
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  murmur demo                                  watch a swarm learn here
  murmur train --recipe arrows                 train the shipped recipe "arrows"
  murmur node --join /ip4/192.0.2.1/tcp/4001   contribute rollouts
  murmur submit recipe.yaml                    ask trainers for something else
  murmur export --to hf --out ./my-policy      take the trained policy elsewhere
  murmur chat --model ./my-policy              talk to it
  murmur status                                what the node here is doing

${EXIT_CODE_HELP}`,
    );
  const commands = [
    demoCommand(),
    nodeCommand(),
    trainCommand(),
    verifyCommand(),
    submitCommand(),
    continueCommand(),
    ...inspectCommands(),
    replayCommand(),
    evalCommand(),
    chatCommand(),
    exportCommand(),
    warmUpCommand(),
    calibrateCommand(),
    devicesCommand(),
    idCommand(),
  ];
  for (const command of commands) {
    command.copyInheritedSettings(program).showHelpAfterError(`(see murmur ${command.name()} --help)`);
    program.addCommand(command);
  }
  return program;
}

/** As commander has it, without defaults that say nothing: a switch is off, a list is empty. */
function optionDescription(option: Option): string {
  return new Help().optionDescription(option).replace(/ ?\(default: (false|\[\])\)$/, '');
}

/** Runs `murmur` with `argv` (as process.argv) and says what to exit with. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(argv);
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT_OK;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT_OK;
      if (argv.includes('--json')) tellMachine('USAGE', error);
      return EXIT_USAGE;
    }
    if (argv.includes('--json')) tellMachine(error instanceof SwarmError ? error.code : 'INTERNAL', error);
    process.stderr.write(`murmur: ${describeError(error)}\n`);
    return error instanceof SwarmError ? exitCodeOf(error.code) : EXIT_FAILED;
  }
}

function tellMachine(code: ErrorCode, error: unknown): void {
  process.stdout.write(`${JSON.stringify({ error: { code, message: errorText(error) } })}\n`);
}

function describeError(error: unknown): string {
  if (error instanceof SwarmError) return `${error.message} (${error.code})`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
