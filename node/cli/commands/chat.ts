// `murmur chat`: talk to a policy, to see what it says.

import { Command, InvalidArgumentError } from 'commander';
import { MODEL_HELP } from '../model-help.ts';
import { type ComputeOptions, parseCount, parsePositive, withCompute, withDataDir, withJson } from '../options.ts';

export interface ChatOptions extends ComputeOptions {
  readonly dataDir: string;
  readonly json: boolean;
  readonly model?: string;
  readonly recipe?: string;
  readonly system?: string;
  readonly once?: string;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly maxTokens: number;
  readonly seed?: number;
}

function parseTemperature(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0 && value <= 100) return value;
  throw new InvalidArgumentError('expected a number from 0 (always the likeliest token) to 100');
}

function parseTopP(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError('expected a number over 0, at most 1');
}

export function chatCommand(): Command {
  return withCompute(withJson(withDataDir(new Command('chat'))), 'alone')
    .description('talk to a model or a trained policy; answers appear token by token')
    .argument(
      '[policy]',
      'a policy step or root (or its beginning) of the data directory, or a model (default: the newest step)',
    )
    .option('--model <dir|hub id>', "a model to talk to instead of the data directory's policies")
    .option('--recipe <id|name>', "whose policies (default: the data directory's newest recipe)")
    .option('--system <text>', 'a system turn to begin with')
    .option('--once <question>', 'ask this, print the answer, leave')
    .option('--temperature <x>', 'divides the logits; 0: always the likeliest token', parseTemperature)
    .option('--top-p <p>', 'draw from the shortest likeliest prefix with this mass; 1: all', parseTopP)
    .option('--top-k <k>', 'draw from the k likeliest tokens; 0: all', parseCount)
    .option('--max-tokens <n>', 'longest answer in tokens', parsePositive, 512)
    .option('--seed <n>', 'the same seed and questions give the same answers (default: a random one)', parseCount)
    .addHelpText(
      'after',
      `
A line is a turn. Ctrl-C stops an answer, Ctrl-D leaves, /new forgets what was
said. Lines of a pipe are asked one after another; --json prints a line for each
answer. On the CPU only what a turn adds to those before it is read. A model
without a chat template is given each line as it is, to go on from.
Sampling is as the recipe or the model's generation_config.json says, else at
temperature 0.7, top-p 0.95.

${MODEL_HELP}

Examples:
  murmur chat --model ./SmolLM2-135M-Instruct
  murmur chat --data-dir ~/swarm/trainer           the newest policy there
  murmur chat 12 --data-dir ~/swarm/trainer        policy step 12
  murmur chat --model recipes/starter --once ad,bf,ca,de,eb,fc:a3= --top-k 1
  murmur chat --model ./my-model --json < questions.txt`,
    )
    .action(async (policy: string | undefined, options: ChatOptions) => {
      const { runChat } = await import('../roles/chat.ts');
      process.exitCode = await runChat(policy, options);
    });
}
