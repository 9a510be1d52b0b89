// The vector suite on folders it must not pass: `npm run test:vectors -- DIR` on one that is incomplete, and the tests that it
// runs on a set in which one number is wrong.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Ending, tempDir } from './support/temp-dir.ts';
import { OWN_VECTORS } from './support/vectors-dir.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

function runNode(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number; said: string }> {
  // A nested run of node:test reports to people, not to this one.
  const { NODE_TEST_CONTEXT: _, ...own } = process.env;
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: ROOT, env: { ...own, ...env } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), said: stdout + stderr });
    });
  });
}

/** A folder like test/vectors, its files linked. */
async function vectorSet(t: Ending): Promise<string> {
  const dir = await tempDir(t);
  for (const name of await readdir(OWN_VECTORS)) await symlink(join(OWN_VECTORS, name), join(dir, name));
  return dir;
}

test('a folder that is none, or lacks something, is told with what it lacks', async (t) => {
  const dir = await vectorSet(t);
  await rm(join(dir, 'grpo.json'));
  await rm(join(dir, 'models'));
  await mkdir(join(dir, 'models', 'half'), { recursive: true });
  await writeFile(join(dir, 'models', 'half', 'config.json'), '{}');
  const incomplete = await runNode(['test/support/run-vectors.ts', dir]);
  assert.equal(incomplete.code, 2, incomplete.said);
  for (const missing of ['grpo.json', 'models/half/expected.json', 'models/half has no model*.safetensors']) {
    assert.ok(incomplete.said.includes(missing), incomplete.said);
  }
  const nothing = await runNode(['test/support/run-vectors.ts', join(dir, 'nowhere')]);
  assert.equal(nothing.code, 2, nothing.said);
});

/** vector file, where a digit in it is made another (the last of the match), the test file that holds us to it */
const WRONG: readonly (readonly [string, RegExp, string])[] = [
  ['toploc.json', /"bytes_hex":"[0-9a-f]{5}/, 'test/verifier/toploc/vectors.test.ts'],
  ['rollouts.json', /"group_seed":"[0-9a-f]/, 'test/node/protocol/seeds.test.ts'],
  ['grpo.json', /"mean":\[0\.\d/, 'test/trainer/grpo/advantages.test.ts'],
];

for (const [name, where, file] of WRONG) {
  test(`one wrong number in ${name} fails ${file}`, async (t) => {
    const dir = await vectorSet(t);
    const text = await readFile(join(OWN_VECTORS, name), 'utf8');
    const found = where.exec(text);
    assert.ok(found !== null, name);
    const at = found.index + found[0].length - 1;
    const digit = text[at] === '1' ? '2' : '1';
    await rm(join(dir, name));
    await writeFile(join(dir, name), text.slice(0, at) + digit + text.slice(at + 1));
    const { code, said } = await runNode(['--test', file], { MURMUR_VECTORS: dir });
    assert.equal(code, 1, said);
  });
}
