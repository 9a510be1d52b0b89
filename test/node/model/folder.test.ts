// Model folders, whole and broken, each breakage by its code.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { loadModelFolder, modelFingerprint, saveModelFolder } from '../../../node/model/folder.ts';
import { policyRoot } from '../../../node/model/policy-root.ts';
import { writeSafetensors } from '../../../node/model/safetensors.ts';
import type { Weights } from '../../../node/model/weights.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { randomModel } from '../../support/random-model.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-folder-'));
});
afterEach(() => rm(dir, { recursive: true }));

const model = randomModel({ layers: 2, tiedHead: false }, 7);
const without = (name: string): Map<string, { shape: readonly number[]; data: Float32Array }> => {
  const left = new Map(model.weights);
  left.delete(name);
  return left;
};
const save = (weights: Weights): Promise<void> =>
  saveModelFolder(dir, { configJson: model.configJson, weights }, 'F32');
const refusedAs = (code: Parameters<typeof isSwarmError>[1]): Promise<void> =>
  assert.rejects(loadModelFolder(dir), (error) => isSwarmError(error, code!));

test('what was saved as float32 loads equal; as bf16 it has the same root', async () => {
  await save(model.weights);
  const loaded = await loadModelFolder(dir);
  assert.deepEqual(loaded.weights, model.weights);
  assert.equal(loaded.configJson, model.configJson);
  await saveModelFolder(dir, model, 'BF16');
  assert.deepEqual(policyRoot((await loadModelFolder(dir)).weights), policyRoot(model.weights));
});

test('shards named by an index load as one', async () => {
  await save(model.weights);
  const names = [...model.weights.keys()];
  const parts = {
    'model-00001-of-00002.safetensors': names.slice(0, 9),
    'model-00002-of-00002.safetensors': names.slice(9),
  };
  const weight_map: Record<string, string> = {};
  for (const [file, part] of Object.entries(parts)) {
    await writeFile(
      join(dir, file),
      writeSafetensors(new Map(part.map((name) => [name, model.weights.get(name)!])), 'F32'),
    );
    for (const name of part) weight_map[name] = file;
  }
  await rm(join(dir, 'model.safetensors'));
  await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
  assert.deepEqual((await loadModelFolder(dir)).weights, model.weights);
  await rm(join(dir, 'model-00002-of-00002.safetensors'));
  await refusedAs('MODEL_FILE_MISSING');
  await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { w: '../../etc/passwd' } }));
  await refusedAs('MODEL_FILE_CORRUPT');
});

test('a folder without a config, and one without weights', async () => {
  await refusedAs('MODEL_FILE_MISSING');
  await writeFile(join(dir, 'config.json'), model.configJson);
  await refusedAs('MODEL_FILE_MISSING');
});

test('a config that is not JSON', async () => {
  await save(model.weights);
  await writeFile(join(dir, 'config.json'), '{');
  await refusedAs('MODEL_FILE_CORRUPT');
});

test('a truncated weights file', async () => {
  await save(model.weights);
  const { length } = await readFile(join(dir, 'model.safetensors'));
  await truncate(join(dir, 'model.safetensors'), length - 1);
  await refusedAs('MODEL_FILE_CORRUPT');
});

test('a tensor missing, one too many, one of another shape', async () => {
  await save(without('model.norm.weight'));
  await refusedAs('MODEL_TENSOR_MISMATCH');
  await save(new Map([...model.weights, ['adapter.weight', { shape: [1], data: Float32Array.of(1) }]]));
  await refusedAs('MODEL_TENSOR_MISMATCH');
  const norm = model.weights.get('model.norm.weight')!;
  await save(new Map([...model.weights, ['model.norm.weight', { shape: [1, norm.data.length], data: norm.data }]]));
  await refusedAs('MODEL_TENSOR_MISMATCH');
});

test('weights that are not finite', async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const norm = model.weights.get('model.norm.weight')!;
    const data = norm.data.slice();
    data[3] = bad;
    await save(new Map([...model.weights, ['model.norm.weight', { shape: norm.shape, data }]]));
    await refusedAs('NON_FINITE_WEIGHT');
  }
});

test('rotary tables of older exports are passed over', async () => {
  const inverse = { shape: [2], data: Float32Array.of(1, 0.1) };
  await save(new Map([...model.weights, ['model.layers.0.self_attn.rotary_emb.inv_freq', inverse]]));
  assert.deepEqual((await loadModelFolder(dir)).weights, model.weights);
});

test('a fingerprint needs the tokenizer', async () => {
  await save(model.weights);
  await assert.rejects(modelFingerprint(dir), (error) => isSwarmError(error, 'MODEL_FILE_MISSING'));
  await writeFile(join(dir, 'tokenizer.json'), '{}');
  await writeFile(join(dir, 'tokenizer_config.json'), '{"a":1}');
  const fingerprint = await modelFingerprint(dir);
  assert.deepEqual(fingerprint.policyRoot, policyRoot(model.weights));
  // sha256 of '{}{"a":1}'
  assert.equal(fingerprint.tokenizerHash.length, 32);
});
