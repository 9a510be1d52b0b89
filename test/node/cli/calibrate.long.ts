// `murmur calibrate` as a user runs it: a report, and a recipe that a swarm takes; stopped it leaves nothing.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { completeToBytes, readRecipeSource } from '../../../node/cli/recipe-source.ts';
import { packageVersion } from '../../../node/cli/shipped.ts';
import { parseRecipe } from '../../../recipes/schema.ts';
import { runInProcess } from '../../support/run-program.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';

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

/** Runs it as a process; SIGINT at the first line that begins with `until`. @returns exit code, and what stderr said */
async function runStopped(t: Ending, out: string, dir: string, until: string | null, flags: readonly string[]) {
  const args = ['calibrate', ...flags, '--threads', '1', '--memory', '300MB', '--out', out];
  const child = spawn(process.execPath, ['node/cli/main.ts', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TMPDIR: dir },
  });
  t.after(async () => void child.kill('SIGKILL'));
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line);
    if (until !== null && line.startsWith(until)) child.kill('SIGINT');
  });
  return { code: await exit, said: lines.join('\n') };
}

test('stopped before anything is counted it exits 130 and leaves nothing', async (t) => {
  const dir = await tempDir(t);
  const out = join(dir, 'found');
  const { code } = await runStopped(t, out, dir, 'ready', ['--groups', '5000']);
  assert.equal(code, 130);
  assert.ok(!existsSync(out));
  assert.deepEqual(await readdir(dir), []);
});

test('stopped later it keeps what it counted, and the same command goes on', async (t) => {
  const dir = await tempDir(t);
  const out = join(dir, 'found');
  const flags = ['--groups', '20', '--lies', ''];
  assert.equal((await runStopped(t, out, dir, 'limits', flags)).code, 130);
  assert.deepEqual(await readdir(out), ['unfinished.json']);
  const { subject } = JSON.parse(await readFile(join(out, 'unfinished.json'), 'utf8'));
  assert.equal(JSON.parse(subject).version, packageVersion(), 'another build may count otherwise');
  const { code, said } = await runStopped(t, out, dir, null, flags);
  assert.equal(code, 0, said);
  assert.match(said, /going on from .*unfinished\.json/);
  assert.ok(!(await readdir(out)).includes('unfinished.json'));
  const { result } = JSON.parse(await readFile(join(out, 'calibration.json'), 'utf8'));
  assert.deepEqual([result.calibratedOn.groups, result.honest.groups], [4, 20]);
});
