// Exit codes of every command, as printed by `murmur --help`.

import type { ErrorCode } from '../protocol/errors.ts';

export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
export const EXIT_NOT_FOUND = 3;
export const EXIT_BAD_INPUT = 4;
export const EXIT_RESOURCE = 5;
export const EXIT_INTERRUPTED = 130;

const WRONG_USAGE: readonly ErrorCode[] = ['USAGE', 'BAD_ADDRESS', 'OUTPUT_EXISTS'];
const NOTHING_THERE: readonly ErrorCode[] = [
  'NO_RUNNING_NODE',
  'NOT_FOUND',
  'RECIPE_NOT_FOUND',
  'BLOB_MISSING',
  'HUB_NOT_FOUND',
  'HUB_OFFLINE',
];
const BAD_INPUT: readonly ErrorCode[] = [
  'RECIPE_INVALID',
  'RECIPE_TOO_LARGE',
  'RECIPE_UNKNOWN_TASK',
  'RECIPE_UNKNOWN_REWARD',
  'UNSUPPORTED_MODEL',
  'MODEL_FILE_MISSING',
  'MODEL_FILE_CORRUPT',
  'MODEL_TENSOR_MISMATCH',
  'ROOT_MISMATCH',
  'NON_FINITE_WEIGHT',
  'TOKENIZER_MISMATCH',
  'TOKENIZER_TOO_SLOW',
  'TEXT_NOT_ENCODABLE',
  'CHAT_TEMPLATE_MISSING',
  'CHAT_TEMPLATE_FAILED',
  'BAD_KEY',
];
const RESOURCE: readonly ErrorCode[] = [
  'PORT_IN_USE',
  'DATA_DIR_IN_USE',
  'DATA_DIR_UNUSABLE',
  'DISK_FULL',
  'DISK_BUDGET',
  'OUT_OF_MEMORY_BUDGET',
  'DEVICE_UNAVAILABLE',
];

/** The exit code that tells a script what kind of failure `code` is. */
export function exitCodeOf(code: ErrorCode): number {
  if (WRONG_USAGE.includes(code)) return EXIT_USAGE;
  if (NOTHING_THERE.includes(code)) return EXIT_NOT_FOUND;
  if (code === 'INTERRUPTED') return EXIT_INTERRUPTED;
  if (BAD_INPUT.includes(code)) return EXIT_BAD_INPUT;
  if (RESOURCE.includes(code)) return EXIT_RESOURCE;
  return EXIT_FAILED;
}

export const EXIT_CODE_HELP = `Exit codes:
  0    done
  1    failed
  2    wrong usage: flags, arguments, addresses, a folder not to be overwritten
  3    nothing there: no such running node, recipe, group, policy or hub model
  4    bad input: recipe, model, tokenizer or key file
  5    a resource is missing: port, disk, memory, device, data directory in use
  130  stopped by Ctrl-C before it was done (0 for what runs until stopped)`;
