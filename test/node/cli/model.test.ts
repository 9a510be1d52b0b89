// `--model` as every command takes it: a folder, a hub id that the user wrote, or what a recipe names and nobody downloads.

import assert from 'node:assert/strict';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findModel } from '../../../node/cli/model-folder.ts';
import { starterModelDir } from '../../../node/cli/shipped.ts';
import { recipeModelOf, startModel, startModelNames } from '../../../node/cli/start-model.ts';
import { type ErrorCode, isSwarmError } from '../../../node/protocol/errors.ts';
import { type HubServer, hubServer, repoOf } from '../../support/hub-server.ts';
import { captured, runInProcess } from '../../support/run-program.ts';
import { tempDir } from '../../support/temp-dir.ts';

const HUB_VARIABLES = ['HF_ENDPOINT', 'HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HUB_OFFLINE', 'HF_TOKEN'];

/** A hub that has the starter as swarm/starter, and this process's environment for it. */
async function withHub(t: TestContext): Promise<HubServer> {
  const before = HUB_VARIABLES.map((name) => [name, process.env[name]] as const);
  t.after(async () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  for (const name of HUB_VARIABLES) delete process.env[name];
  const hub = await hubServer(t, { 'swarm/starter': await repoOf(starterModelDir()) });
  process.env['HF_ENDPOINT'] = hub.endpoint;
  process.env['HF_HOME'] = await tempDir(t);
  return hub;
}

const fails = (code: ErrorCode) => (error: unknown) => isSwarmError(error, code);
const starter = () => recipeModelOf({ folder: starterModelDir(), hubId: null });

test('eval and export take a model from the hub, told on stderr and once downloaded', async (t) => {
  const hub = await withHub(t);
  const dir = await tempDir(t);
  const evaluate = ['eval', '--model', 'swarm/starter', '--tasks', '4', '--threads', '1', '--json'];
  const first = await runInProcess(evaluate);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stderr, /downloading 1\.7 MB of swarm\/starter/);
  assert.equal((JSON.parse(first.stdout) as { policyRoot: string }).policyRoot, (await starter()).initialPolicyRoot);
  await hub.close();
  const again = await runInProcess(['export', 'swarm/starter', '--to', 'onnx', '--out', join(dir, 'onnx')]);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /the hub does not answer; using the copy/);
});

test('what hub ids fail with reaches the command line', async (t) => {
  await withHub(t);
  const failure = async (model: string): Promise<readonly [string, number]> => {
    const { code, stdout } = await runInProcess(['eval', '--model', model, '--tasks', '1', '--json']);
    return [(JSON.parse(stdout) as { error: { code: string } }).error.code, code];
  };
  assert.deepEqual(await failure('swarm/nothing'), ['HUB_NOT_FOUND', 3]);
  assert.deepEqual(await failure('no-such-folder'), ['MODEL_FILE_MISSING', 4]);
  assert.deepEqual(await failure('./swarm/starter'), ['MODEL_FILE_MISSING', 4]);
  process.env['HF_HUB_OFFLINE'] = '1';
  assert.deepEqual(await failure('swarm/starter'), ['HUB_OFFLINE', 3]);
});

test('a folder that is there wins over a hub id of the same name', async (t) => {
  const hub = await withHub(t);
  const dir = await tempDir(t);
  await cp(starterModelDir(), join(dir, 'swarm', 'starter'), { recursive: true });
  const cwd = process.cwd();
  process.chdir(dir);
  try {
    assert.equal((await findModel('swarm/starter')).hubId, null);
  } finally {
    process.chdir(cwd);
  }
  assert.deepEqual(hub.requests, []);
});

test('the hub id that a recipe names is looked up and never downloaded', async (t) => {
  const hub = await withHub(t);
  const recipe = { model: { hubId: 'swarm/starter' } };
  await assert.rejects(startModel(undefined, recipe), fails('MODEL_FILE_MISSING'));
  assert.deepEqual(hub.requests, []);
  const { result, stderr } = await captured(() => startModel('swarm/starter', recipe));
  assert.match(stderr, /downloading 1\.7 MB/);
  assert.match(result.model.hubId!, /^swarm\/starter@[0-9a-f]{40}$/);
  const asked = hub.requests.length;
  const { folder } = await startModel(undefined, recipe);
  assert.ok(folder.startsWith(process.env['HF_HOME']!));
  assert.equal(hub.requests.length, asked);
  await assert.rejects(startModel(undefined, { model: { hubId: '../../etc' } }), fails('HUB_NOT_FOUND'));
});

test('a recipe that names another model than --model is told so before anything starts', async (t) => {
  const own = await starter();
  const { configHash: _left, ...partly } = own;
  assert.equal((await startModel(undefined, null)).folder, starterModelDir());
  assert.deepEqual((await startModel(undefined, { model: partly })).model, own);
  const other = { model: { ...own, initialPolicyRoot: 'ab'.repeat(32) } };
  await assert.rejects(startModel(starterModelDir(), other), fails('ROOT_MISMATCH'));
  // who submits needs no weights of it
  assert.deepEqual(await startModelNames(undefined, other), other.model);
  await assert.rejects(startModelNames(starterModelDir(), other), fails('ROOT_MISMATCH'));
  const dir = await tempDir(t);
  const file = join(dir, 'recipe.json');
  await mkdir(dir, { recursive: true });
  await writeFile(
    file,
    JSON.stringify({ version: 1, name: 'x', tasks: [{ task: 'sums@1' }], rewards: [{ reward: 'exact@1' }], ...other }),
  );
  const args = ['train', '--recipe', file, '--model', starterModelDir(), '--data-dir', join(dir, 'data'), '--json'];
  const { code, stdout } = await runInProcess(args);
  assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, 'ROOT_MISMATCH');
  assert.equal(code, 4);
});
