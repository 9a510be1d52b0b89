// Exit codes: what a script can tell failures apart by.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXIT_CODE_HELP, exitCodeOf } from '../../../node/cli/exit-codes.ts';
import type { ErrorCode } from '../../../node/protocol/errors.ts';

const EXPECTED: Readonly<Record<number, readonly ErrorCode[]>> = {
  1: ['INTERNAL', 'CONTROL_FAILED', 'CONTROL_REFUSED', 'CONTROL_TIMEOUT', 'PEER_UNREACHABLE'],
  2: ['USAGE', 'BAD_ADDRESS', 'OUTPUT_EXISTS'],
  3: ['NO_RUNNING_NODE', 'NOT_FOUND', 'RECIPE_NOT_FOUND', 'BLOB_MISSING', 'HUB_NOT_FOUND', 'HUB_OFFLINE'],
  4: [
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
    'BAD_KEY',
  ],
  5: ['PORT_IN_USE', 'DATA_DIR_IN_USE', 'DATA_DIR_UNUSABLE', 'DISK_FULL', 'DISK_BUDGET', 'OUT_OF_MEMORY_BUDGET'],
  130: ['INTERRUPTED'],
};

test('each kind of failure has its exit code, and help names every one', () => {
  for (const [exit, codes] of Object.entries(EXPECTED)) {
    for (const code of codes) assert.equal(exitCodeOf(code), Number(exit), code);
    assert.match(EXIT_CODE_HELP, new RegExp(`^ {2}${exit} `, 'm'));
  }
  assert.match(EXIT_CODE_HELP, /^ {2}0 /m);
});
