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

/** Writes shards of these tensors and an index; `placed` overrides where the index says that a tensor lies. */
async function saveShards(
  parts: Readonly<Record<string, Weights>>,
  placed: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeFile(join(dir, 'config.json'), model.configJson);
  const weight_map: Record<string, string> = {};
  for (const [file, part] of Object.entries(parts)) {
    await writeFile(join(dir, file), writeSafetensors(part, 'F32'));
    for (const name of part.keys()) weight_map[name] = file;
  }
  await writeFile(
    join(dir, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: 1 }, weight_map: { ...weight_map, ...placed } }),
  );
}
const [ONE, TWO] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const entries = [...model.weights];
const halves = { [ONE]: new Map(entries.slice(0, 9)), [TWO]: new Map(entries.slice(9)) };

test('shards named by an index load as one, in the order of the config', async () => {
  await saveShards({ [ONE]: halves[TWO]!, [TWO]: halves[ONE]! });
  const { weights } = await loadModelFolder(dir);
  assert.deepEqual([...weights], entries);
});

test('one file wins over an index beside it', async () => {
  await saveShards({ [ONE]: new Map() }, { nothing: ONE });
  await save(model.weights);
  assert.deepEqual((await loadModelFolder(dir)).weights, model.weights);
});

test('a shard that is missing, named by its path', async () => {
  await saveShards(halves);
  await rm(join(dir, TWO));
  await assert.rejects(
    loadModelFolder(dir),
    (error) => isSwarmError(error, 'MODEL_FILE_MISSING') && error.detail.path === join(dir, TWO),
  );
});

const INDEX_LIES: Readonly<Record<string, () => Promise<void>>> = {
  'an index that places a tensor in a shard without it': () => saveShards(halves, { 'model.norm.weight': ONE }),
  'an index that names a tensor that no shard has': () => saveShards(halves, { 'model.layers.9.x': TWO }),
  'a tensor in two shards': () =>
    saveShards({ ...halves, [TWO]: new Map(entries.slice(8)) }, { [entries[8]![0]]: ONE }),
  'a shard outside of the folder': () => saveShards(halves, { 'model.norm.weight': '../../etc/passwd' }),
  'a shard that is no text': () => saveShards(halves, { 'model.norm.weight': 1 as unknown as string }),
  'an index of nothing': () => saveShards({}),
};
for (const [what, write] of Object.entries(INDEX_LIES)) {
  test(what, async () => {
    await write();
    await refusedAs('MODEL_FILE_CORRUPT');
  });
}

test('shards without a tensor that the config requires, and with one too many', async () => {
  const norm = 'model.norm.weight';
  const rest = new Map(halves[TWO]!);
  rest.delete(norm);
  await saveShards({ ...halves, [TWO]: rest });
  await refusedAs('MODEL_TENSOR_MISMATCH');
  await saveShards({ ...halves, [TWO]: new Map([...halves[TWO]!, ['x', { shape: [1], data: Float32Array.of(1) }]]) });
  await refusedAs('MODEL_TENSOR_MISMATCH');
});

test('a tied head: stored once under either name, twice alike, twice unlike', async () => {
  const tied = randomModel({ layers: 1, tiedHead: true }, 3);
  const embedding = tied.weights.get('model.embed_tokens.weight')!;
  const saveTied = (weights: Weights): Promise<void> =>
    saveModelFolder(dir, { configJson: tied.configJson, weights }, 'F32');
  const withHead = (data: Float32Array): Weights =>
    new Map([...tied.weights, ['lm_head.weight', { shape: embedding.shape, data }]]);
  const loadsAlike = async (weights: Weights): Promise<void> => {
    await saveTied(weights);
    assert.deepEqual([...(await loadModelFolder(dir)).weights], [...tied.weights]);
  };
  await loadsAlike(tied.weights);
  await loadsAlike(withHead(embedding.data));
  const headAlone = new Map(withHead(embedding.data));
  headAlone.delete('model.embed_tokens.weight');
  await loadsAlike(headAlone);
  await saveTied(withHead(embedding.data.map((value, i) => (i === embedding.data.length - 1 ? value + 1 : value))));
  await assert.rejects(
    loadModelFolder(dir),
    (error) => isSwarmError(error, 'MODEL_TENSOR_MISMATCH') && error.detail.tensor === 'lm_head.weight',
  );
});

test('an untied model without a head is told so', async () => {
  await save(without('lm_head.weight'));
  await assert.rejects(
    loadModelFolder(dir),
    (error) => isSwarmError(error, 'MODEL_TENSOR_MISMATCH') && error.detail.tensor === 'lm_head.weight',
  );
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
