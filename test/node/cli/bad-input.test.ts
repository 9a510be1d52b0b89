// Recipes and model folders that are broken, as `murmur` is given them: each ends in its code and exit code.

import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { starterModelDir } from '../../../node/cli/shipped.ts';
import type { ErrorCode } from '../../../node/protocol/errors.ts';
import { runInProcess } from '../../support/run-program.ts';
import { tempDir } from '../../support/temp-dir.ts';

/** Runs with --json; the code that it ends with and its exit code. */
async function failure(args: readonly string[]): Promise<readonly [string, number]> {
  const { code, stdout, stderr } = await runInProcess([...args, '--json']);
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
  assert.ok(error.message.length > 10 && !stderr.includes('    at '), stderr);
  return [error.code, code];
}

async function brokenModel(t: TestContext, breakIt: (dir: string) => Promise<void>): Promise<string> {
  const dir = await tempDir(t);
  await cp(starterModelDir(), dir, { recursive: true });
  await breakIt(dir);
  return dir;
}

async function editJson(file: string, edit: (json: Record<string, unknown>) => void): Promise<void> {
  const json = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  edit(json);
  await writeFile(file, JSON.stringify(json));
}

const MODEL_FAULTS: readonly (readonly [string, ErrorCode, (dir: string) => Promise<void>])[] = [
  ['no weights', 'MODEL_FILE_MISSING', (dir) => rm(join(dir, 'model.safetensors'))],
  ['no config', 'MODEL_FILE_MISSING', (dir) => rm(join(dir, 'config.json'))],
  ['no tokenizer', 'MODEL_FILE_MISSING', (dir) => rm(join(dir, 'tokenizer.json'))],
  ['truncated weights', 'MODEL_FILE_CORRUPT', (dir) => truncate(join(dir, 'model.safetensors'), 500_000)],
  ['empty weights', 'MODEL_FILE_CORRUPT', (dir) => truncate(join(dir, 'model.safetensors'), 0)],
  ['a config that is no JSON', 'MODEL_FILE_CORRUPT', (dir) => writeFile(join(dir, 'config.json'), '{')],
  [
    'NaN in the weights',
    'NON_FINITE_WEIGHT',
    async (dir) => {
      const bytes = await readFile(join(dir, 'model.safetensors'));
      bytes.writeUInt16LE(0x7fc0, bytes.length - 2);
      await writeFile(join(dir, 'model.safetensors'), bytes);
    },
  ],
  [
    'another architecture',
    'UNSUPPORTED_MODEL',
    (dir) =>
      editJson(join(dir, 'config.json'), (config) => {
        config['architectures'] = ['MambaForCausalLM'];
        config['model_type'] = 'mamba';
      }),
  ],
  [
    'another shape',
    'MODEL_TENSOR_MISMATCH',
    (dir) =>
      editJson(join(dir, 'config.json'), (config) => {
        config['intermediate_size'] = 512;
      }),
  ],
  [
    'a tokenizer with more tokens than the model has rows',
    'TOKENIZER_MISMATCH',
    (dir) =>
      editJson(join(dir, 'tokenizer.json'), (tokenizer) => {
        const { vocab } = tokenizer['model'] as { vocab: Record<string, number> };
        vocab['too much'] = 40;
      }),
  ],
];

for (const [what, code, breakIt] of MODEL_FAULTS) {
  test(`a model folder with ${what} is refused as ${code}`, async (t) => {
    const dir = await brokenModel(t, breakIt);
    assert.deepEqual(await failure(['eval', '--model', dir, '--tasks', '1', '--threads', '1']), [code, 4]);
  });
}

test('a model folder to talk to is refused as one to evaluate is', async (t) => {
  const asked = (dir: string): string[] => ['chat', '--model', dir, '--once', 'hi', '--threads', '1'];
  const refused: readonly (readonly [ErrorCode, (dir: string) => Promise<void>])[] = [
    ['MODEL_FILE_MISSING', (dir) => rm(join(dir, 'config.json'))],
    ['MODEL_FILE_CORRUPT', (dir) => writeFile(join(dir, 'config.json'), '{')],
    ['MODEL_FILE_CORRUPT', (dir) => writeFile(join(dir, 'generation_config.json'), '{')],
  ];
  for (const [code, breakIt] of refused) {
    assert.deepEqual(await failure(asked(await brokenModel(t, breakIt))), [code, 4]);
  }
});

const SUMS = 'version: 1\nname: x\ntasks: [{ task: sums@1 }]\nrewards: [{ reward: exact@1 }]\ngroupSize: 4\n';

const RECIPE_FAULTS: readonly (readonly [string, ErrorCode, string])[] = [
  ['no YAML', 'RECIPE_INVALID', 'a: [b\n: c'],
  ['a list', 'RECIPE_INVALID', '- 1\n'],
  ['nothing in it', 'RECIPE_INVALID', ''],
  ['an unknown field', 'RECIPE_INVALID', `${SUMS}colour: red\n`],
  ['a group of one', 'RECIPE_INVALID', SUMS.replace('groupSize: 4', 'groupSize: 1')],
  ['an unknown task', 'RECIPE_UNKNOWN_TASK', SUMS.replace('sums@1', 'sudoku@1')],
  ['an unknown reward', 'RECIPE_UNKNOWN_REWARD', SUMS.replace('exact@1', 'vibes@1')],
  ['300 KiB of description', 'RECIPE_TOO_LARGE', `${SUMS}description: ${'x'.repeat(300 * 1024)}\n`],
];

for (const [what, code, text] of RECIPE_FAULTS) {
  test(`a recipe with ${what} is refused as ${code}`, async (t) => {
    const dir = await tempDir(t);
    const file = join(dir, 'recipe.yaml');
    await writeFile(file, text);
    assert.deepEqual(await failure(['submit', file, '--dry-run', '--data-dir', join(dir, 'data')]), [code, 4]);
  });
}

test('a recipe that asks in chats is refused for a model without a chat template', async (t) => {
  const dir = await tempDir(t);
  const asked = ['eval', '--model', starterModelDir(), '--recipe', 'largest', '--tasks', '1', '--threads', '1'];
  assert.deepEqual(await failure(asked), ['CHAT_TEMPLATE_MISSING', 4]);
  assert.deepEqual(await failure(['warm-up', '--recipe', 'largest', '--out', dir]), ['RECIPE_INVALID', 4]);
});

test('a trainer without a verifier refuses a recipe of its own that names none', async (t) => {
  const dir = await tempDir(t);
  const flags = ['--recipe', 'arrows', '--no-verify', '--loopback', '--threads', '1', '--log-level', 'error'];
  const { code, stdout } = await runInProcess(['train', ...flags, '--data-dir', join(dir, 'data'), '--json']);
  assert.equal(code, 2);
  assert.equal((JSON.parse(stdout.trim().split('\n').at(-1)!) as { error: { code: string } }).error.code, 'USAGE');
});

test('a recipe that is not there is told from one that is broken', async (t) => {
  const dir = await tempDir(t);
  await mkdir(join(dir, 'folder.yaml'));
  for (const name of ['no-such-recipe', join(dir, 'missing.yaml'), join(dir, 'folder.yaml'), '..', '/etc/passwd']) {
    const found = await failure(['submit', name, '--dry-run', '--data-dir', join(dir, 'data')]);
    assert.deepEqual(found, ['RECIPE_NOT_FOUND', 3], name);
    // With nobody to hand it to either: what is wrong with the recipe is told first.
    assert.deepEqual(await failure(['submit', name, '--data-dir', join(dir, 'data')]), found, name);
  }
});

test('the starter model and every shipped recipe pass the same door', async (t) => {
  const dir = await tempDir(t);
  for (const name of ['arrows', 'largest', 'sums', 'sorting']) {
    const { code, stdout } = await runInProcess(['submit', name, '--dry-run', '--json', '--data-dir', dir]);
    assert.equal(code, 0, stdout);
    assert.match((JSON.parse(stdout) as { author: string }).author, /^[0-9a-f]{64}$/);
  }
  const evaluated = await runInProcess([
    'eval',
    '--model',
    starterModelDir(),
    '--tasks',
    '8',
    '--json',
    '--threads',
    '1',
  ]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  const { tasks, accuracy, completionTokensMean } = JSON.parse(evaluated.stdout) as Record<string, number>;
  assert.equal(tasks, 8);
  assert.ok(accuracy! >= 0 && accuracy! <= 1 && completionTokensMean! > 1);
});
