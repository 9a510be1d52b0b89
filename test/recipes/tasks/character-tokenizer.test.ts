// The starter's tokenizer, loaded from its folder by @huggingface/transformers as a user would.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AutoTokenizer, type PreTrainedTokenizer } from '@huggingface/transformers';
import fc from 'fast-check';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { characterTokenizer, EOS_TOKEN, STARTER_CHARACTERS, UNKNOWN_TOKEN } from '../../support/character-tokenizer.ts';

const folder = new URL('../../../recipes/starter/', import.meta.url);
let tokenizer: PreTrainedTokenizer;

before(async () => {
  tokenizer = await AutoTokenizer.from_pretrained(fileURLToPath(folder), { local_files_only: true });
});

test('the shipped files are what characterTokenizer writes', () => {
  const files = characterTokenizer(STARTER_CHARACTERS);
  assert.equal(readFileSync(new URL('tokenizer.json', folder), 'utf8'), files.tokenizerJson);
  assert.equal(readFileSync(new URL('tokenizer_config.json', folder), 'utf8'), files.tokenizerConfigJson);
});

test('it has 32 tokens, one a character, and adds nothing', () => {
  const ids = tokenizer.encode(STARTER_CHARACTERS);
  assert.deepEqual(
    ids,
    Array.from({ length: 29 }, (_, i) => i + 3),
  );
});

test('any text of its characters comes back', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...STARTER_CHARACTERS), maxLength: 60 }), (text) => {
      const ids = tokenizer.encode(text);
      assert.equal(ids.length, text.length);
      assert.equal(ids.length === 0 ? '' : tokenizer.decode(ids), text);
    }),
  );
});

test('other characters show as unknown, special tokens are kept by decoding', () => {
  assert.deepEqual(tokenizer.encode('aZé'), [3, UNKNOWN_TOKEN.id, UNKNOWN_TOKEN.id]);
  assert.equal(tokenizer.decode([3, EOS_TOKEN.id, 4], { skip_special_tokens: false }), 'a<|eos|>b');
});

test('a character twice is refused', () => {
  assert.throws(
    () => characterTokenizer('aba'),
    (error) => isSwarmError(error, 'RECIPE_INVALID'),
  );
});
