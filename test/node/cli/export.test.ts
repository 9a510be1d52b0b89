// `murmur export` on model folders: what is kept, what is refused, and that nothing half-written is ever left.

import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { starterModelDir } from '../../../node/cli/shipped.ts';
import { modelCard } from '../../../node/model/export/card.ts';
import { writeFolderWhole } from '../../../node/model/export/whole-folder.ts';
import { loadModelFolder, modelFingerprint, saveModelFolder } from '../../../node/model/folder.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { runInProcess } from '../../support/run-program.ts';
import { tempDir } from '../../support/temp-dir.ts';

/** The starter with a chat template and a generation config, its weights as float32. */
async function modelWithExtras(t: TestContext): Promise<string> {
  const dir = join(await tempDir(t), 'model');
  await cp(starterModelDir(), dir, { recursive: true });
  await writeFile(join(dir, 'chat_template.jinja'), '{{ messages[0].content }}');
  await writeFile(join(dir, 'generation_config.json'), '{"top_k": 5}');
  await writeFile(join(dir, 'optimizer.pt'), 'not for export');
  const model = await loadModelFolder(dir);
  const json = { ...JSON.parse(model.configJson), torch_dtype: 'float32' };
  await saveModelFolder(dir, { configJson: JSON.stringify(json), weights: model.weights }, 'F32');
  return dir;
}

async function failure(args: readonly string[]): Promise<readonly [string, number]> {
  const { code, stdout } = await runInProcess([...args, '--json']);
  return [(JSON.parse(stdout) as { error: { code: string } }).error.code, code];
}

test('a folder goes to hf with its texts, its hashes unchanged, its weights as bf16', async (t) => {
  const model = await modelWithExtras(t);
  const out = join(await tempDir(t), 'out');
  const { code, stdout } = await runInProcess(['export', model, '--to', 'hf', '--out', out, '--json']);
  assert.equal(code, 0, stdout);
  const names = ['README.md', 'chat_template.jinja', 'config.json', 'generation_config.json', 'model.safetensors'];
  assert.deepEqual((await readdir(out)).sort(), [...names, 'tokenizer.json', 'tokenizer_config.json']);
  assert.deepEqual(await modelFingerprint(out), await modelFingerprint(model));
  assert.equal(await readFile(join(out, 'generation_config.json'), 'utf8'), '{"top_k": 5}');
  assert.equal(JSON.parse(await readFile(join(out, 'config.json'), 'utf8')).torch_dtype, 'bfloat16');
  const weights = await readFile(join(out, 'model.safetensors'));
  const header = JSON.parse(weights.subarray(8, 8 + Number(weights.readBigUInt64LE())).toString()) as object;
  assert.deepEqual((header as Record<string, unknown>)['__metadata__'], { format: 'pt' });
  assert.equal((JSON.parse(stdout) as { bytes: number }).bytes, weights.length);
});

test('--base gives the generation config, which weights do not carry', async (t) => {
  const out = join(await tempDir(t), 'out');
  const args = ['export', starterModelDir(), '--base', await modelWithExtras(t), '--to', 'onnx', '--out', out];
  assert.equal((await runInProcess(args)).code, 0);
  assert.equal(await readFile(join(out, 'generation_config.json'), 'utf8'), '{"top_k": 5}');
  assert.ok(!(await readdir(out)).includes('chat_template.jinja'));
  assert.deepEqual((await readdir(join(out, 'onnx'))).sort(), ['model.onnx', 'model.onnx_data']);
});

test('what is there is not overwritten, but for a model with --force', async (t) => {
  const dir = await tempDir(t);
  const [model, other] = [join(dir, 'model'), join(dir, 'other')];
  const args = ['export', starterModelDir(), '--to', 'hf', '--out'];
  assert.equal((await runInProcess([...args, model])).code, 0);
  await writeFile(join(model, 'mine.txt'), 'mine');
  assert.deepEqual(await failure([...args, model]), ['OUTPUT_EXISTS', 2]);
  assert.ok((await readdir(model)).includes('mine.txt'));
  assert.equal((await runInProcess([...args, model, '--force'])).code, 0);
  assert.ok(!(await readdir(model)).includes('mine.txt'));
  await mkdir(other);
  await writeFile(join(other, 'thesis.tex'), 'mine');
  assert.deepEqual(await failure([...args, other, '--force']), ['OUTPUT_EXISTS', 2]);
  assert.deepEqual(await failure([...args, join(other, 'thesis.tex')]), ['OUTPUT_EXISTS', 2]);
  assert.deepEqual(await readdir(other), ['thesis.tex']);
  assert.deepEqual((await readdir(dir)).sort(), ['model', 'other']);
});

test('a write that fails leaves what was there, and nothing else', async (t) => {
  const dir = await tempDir(t);
  const out = join(dir, 'out');
  await mkdir(out);
  await writeFile(join(out, 'config.json'), 'old');
  const failing = writeFolderWhole(out, true, async (place) => {
    await writeFile(join(place, 'config.json'), 'half');
    throw new Error('disk full');
  });
  await assert.rejects(failing, /disk full/);
  assert.deepEqual(await readdir(dir), ['out']);
  assert.equal(await readFile(join(out, 'config.json'), 'utf8'), 'old');
  // Somebody else puts something there meanwhile.
  const late = join(dir, 'late');
  const raced = writeFolderWhole(late, false, async () => {
    await mkdir(late);
    await writeFile(join(late, 'theirs'), '');
  });
  await assert.rejects(raced, (error) => isSwarmError(error, 'OUTPUT_EXISTS'));
  assert.deepEqual([(await readdir(dir)).sort(), await readdir(late)], [['late', 'out'], ['theirs']]);
});

test('what is not there is told with its code', async (t) => {
  const dir = await tempDir(t);
  const to = ['--to', 'hf', '--out', join(dir, 'out'), '--data-dir', join(dir, 'data')];
  assert.deepEqual(await failure(['export', ...to]), ['NOT_FOUND', 3]);
  assert.deepEqual(await failure(['export', '12', ...to]), ['NOT_FOUND', 3]);
  assert.deepEqual(await failure(['export', 'abcdef', ...to]), ['NOT_FOUND', 3]);
  assert.deepEqual(await failure(['export', './nowhere', ...to]), ['MODEL_FILE_MISSING', 4]);
  assert.deepEqual(await failure(['export', '--to', 'gguf', '--out', 'x']), ['USAGE', 2]);
  assert.deepEqual(await readdir(dir), []);
});

test('a card shows what strangers wrote and formats none of it', () => {
  const card = modelCard({
    format: 'hf',
    policyRoot: 'ab'.repeat(32),
    parameters: 7,
    training: {
      recipeName: 'arrows',
      recipeId: 'cd'.repeat(32),
      description: 'a | b\n---\n<script>`x` [link](http://x)',
      policyStep: 3,
      initialPolicyRoot: 'ef'.repeat(32),
    },
    base: 'o/n"\n---',
  });
  assert.equal(card.split('\n---\n').length, 2, card);
  assert.ok(!/<script>|\[link\]/.test(card), card);
  assert.match(card, /^base_model: "o\/n\\"\\n---"$/m);
});
