// Tokenizers of the common kinds against what Hugging Face's own library makes of the same texts.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createTokenizer, loadTokenizer } from '../../../node/model/tokenizer.ts';
import { readTokenizerFiles } from '../../../node/model/tokenizer-files.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { OWN_VECTORS, readVector, vectorsDir } from '../../support/vectors-dir.ts';

interface Expected {
  readonly texts: { text: string; ids: number[]; ids_with_special: number[]; decoded: string }[];
  readonly chats: { text: string; ids: number[] }[];
}

for (const name of readdirSync(join(vectorsDir(), 'tokenizers')).sort()) {
  test(`${name}: texts to ids and back`, async () => {
    const tokenizer = await loadTokenizer(join(vectorsDir(), 'tokenizers', name));
    const { texts, chats } = readVector<Expected>('tokenizers', name, 'expected.json');
    for (const { text, ids, ids_with_special, decoded } of texts) {
      assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), ids, text);
      assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: true }), ids_with_special, text);
      assert.equal(tokenizer.decode(ids), decoded);
    }
    for (const { text, ids } of chats) {
      assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), ids, text);
    }
    assert.equal(typeof tokenizer.chatTemplate, 'string');
  });
}

test('ids and token texts, special ones too', async () => {
  const tokenizer = await loadTokenizer(join(OWN_VECTORS, 'tokenizers', 'gpt2-style-chatml'));
  assert.equal(tokenizer.vocabSize, 700);
  assert.equal(tokenizer.idOf('<|im_end|>'), 2);
  assert.equal(tokenizer.tokenText(2), '<|im_end|>');
  assert.equal(tokenizer.idOf('no such token'), undefined);
  assert.equal(tokenizer.tokenText(700), undefined);
  assert.equal(tokenizer.specialTokens.eos_token, '<|im_end|>');
});

test('a vocabulary larger than the model is refused, a smaller one taken', async () => {
  const dir = join(OWN_VECTORS, 'tokenizers', 'gpt2-style-chatml');
  await assert.rejects(loadTokenizer(dir, 699), (error) => isSwarmError(error, 'TOKENIZER_MISMATCH'));
  assert.equal((await loadTokenizer(dir, 704)).vocabSize, 700);
});

test('chat_template.jinja goes into the config that is hashed and travels, and wins over its own template', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'murmur-tokenizer-'));
  const other = await mkdtemp(join(tmpdir(), 'murmur-tokenizer-'));
  try {
    await cp(join(OWN_VECTORS, 'tokenizers', 'gpt2-style-chatml'), dir, { recursive: true });
    const found = await readTokenizerFiles(dir);
    assert.deepEqual(Buffer.from(found.tokenizerConfig), await readFile(join(dir, 'tokenizer_config.json')));
    await writeFile(join(dir, 'chat_template.jinja'), '{{ "é" }}');
    assert.equal((await loadTokenizer(dir)).chatTemplate, '{{ "é" }}');
    const files = await readTokenizerFiles(dir);
    assert.notDeepEqual(files.tokenizerConfig, found.tokenizerConfig);
    assert.deepEqual(files.tokenizer, found.tokenizer);
    // as a policy's folder holds it, without the template's file
    await writeFile(join(other, 'tokenizer.json'), files.tokenizer);
    await writeFile(join(other, 'tokenizer_config.json'), files.tokenizerConfig);
    assert.deepEqual(await readTokenizerFiles(other), files);
    assert.equal((await loadTokenizer(other)).chatTemplate, '{{ "é" }}');
    // a folder with both says the same
    await writeFile(join(other, 'chat_template.jinja'), '{{ "é" }}');
    assert.deepEqual((await readTokenizerFiles(other)).tokenizerConfig, files.tokenizerConfig);
  } finally {
    await rm(dir, { recursive: true });
    await rm(other, { recursive: true });
  }
});

test('missing and broken files have their codes', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'murmur-tokenizer-'));
  try {
    await assert.rejects(loadTokenizer(dir), (error) => isSwarmError(error, 'MODEL_FILE_MISSING'));
    await writeFile(join(dir, 'tokenizer_config.json'), '{}');
    for (const text of ['', '{', '[', '1', '{}', '{"model":{"type":"Unheard"}}']) {
      await writeFile(join(dir, 'tokenizer.json'), text);
      await assert.rejects(loadTokenizer(dir), (error) => isSwarmError(error, 'MODEL_FILE_CORRUPT'), text);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
});

/** A word-level tokenizer.json with every part that the package asks for. */
const wordLevel = (vocab: object, replaced: object = {}) => ({
  ...{ added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null },
  ...{ model: { type: 'WordLevel', vocab, unk_token: 'a' }, ...replaced },
});

test('ids that a file of a kilobyte would fill the memory with are refused, holes that are in use are not', () => {
  const corrupt = { code: 'MODEL_FILE_CORRUPT', message: /gives a token the id/ };
  assert.equal(createTokenizer(wordLevel({ a: 0, b: 60_000 }), {}).vocabSize, 60_001);
  for (const id of [3_000_000_000, 70_000, -1, 0.5, '1', null, [{ toString: 1 }]]) {
    assert.throws(() => createTokenizer(wordLevel({ a: 0, b: id }), {}), corrupt, JSON.stringify(id));
    assert.throws(() => createTokenizer(wordLevel({ a: 0 }, { added_tokens: [{ id, content: 'b' }] }), {}), corrupt);
  }
});

test('an added token whose text is none, but says how long it is, is refused', () => {
  const added_tokens = [{ id: 1, content: { length: 4_294_967_295 } }];
  assert.throws(() => createTokenizer(wordLevel({ a: 0 }, { added_tokens }), {}), { code: 'MODEL_FILE_CORRUPT' });
});

test('what the package cannot do with a file has a code also when text comes', () => {
  const pre_tokenizer = { type: 'Split', pattern: { Regex: 'a' }, behavior: 7, invert: false };
  const made = createTokenizer(wordLevel({ a: 0 }, { pre_tokenizer }), {});
  assert.throws(() => made.encode('a', { addSpecialTokens: false }), { code: 'MODEL_FILE_CORRUPT' });
});
