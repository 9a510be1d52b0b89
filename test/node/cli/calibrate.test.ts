// `murmur calibrate` as a user runs it: a report, and a recipe that a swarm takes; stopped it leaves nothing.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { completeToBytes, readRecipeSource } from '../../../node/cli/recipe-source.ts';
import { parseRecipe } from '../../../recipes/schema.ts';
import { runInProcess } from '../../support/run-program.ts';
import { tempDir } from '../../support/temp-dir.ts';

const KEY = '0'.repeat(64);

test('it writes a report and a recipe with the limits found, comments kept', async (t) => {
  const out = join(await tempDir(t), 'found');
  const flags = ['--groups', '8', '--lie-groups', '4', '--lies', 'greedy,int4', '--threads', '1', '--memory', '300MB'];
  const { code, stdout, stderr } = await runInProcess(['calibrate', ...flags, '--out', out, '--json']);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readdir(out), ['calibration.json', 'calibration.md', 'calibration.svg', 'recipe.yaml']);
  assert.equal(await readFile(join(out, 'calibration.json'), 'utf8'), stdout);
  const { result } = JSON.parse(stdout);
  assert.equal(result.honest.groups, 8);
  assert.deepEqual(
    result.lies.map(({ name }: { readonly name: string }) => name),
    ['int4', 'greedy'],
  );
  const text = await readFile(join(out, 'recipe.yaml'), 'utf8');
  assert.match(text, /# Follow the arrows/);
  const model = { initialPolicyRoot: KEY, configHash: KEY, tokenizerHash: KEY };
  const source = await readRecipeSource(join(out, 'recipe.yaml'));
  const { verification } = parseRecipe(completeToBytes(source, { author: KEY, trainers: [KEY], model }));
  const found = Object.fromEntries(
    result.limits.map((each: { limit: string; found: number }) => [each.limit, each.found]),
  );
  assert.equal(verification.delta, found.delta);
  assert.ok(verification.delta < 1e-4, 'one CPU agrees with itself better than any two devices');
  assert.equal(verification.toploc.maxExponentMismatches, found.maxExponentMismatches);
});

test('stopped it exits 130 and leaves nothing', async (t) => {
  const dir = await tempDir(t);
  const out = join(dir, 'found');
  const args = [
    'node/cli/main.ts',
    'calibrate',
    '--groups',
    '5000',
    '--threads',
    '1',
    '--memory',
    '300MB',
    '--out',
    out,
  ];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TMPDIR: dir },
  });
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('ready')) child.kill('SIGINT');
  });
  assert.equal(await exit, 130);
  assert.ok(!existsSync(out));
  assert.deepEqual(await readdir(dir), []);
});
