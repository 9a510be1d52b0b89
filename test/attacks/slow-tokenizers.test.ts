// A liar's recipe names a model whose tokenizer.json holds a regular expression that backtracks for ever, in each part that has any.
// Were one not ended, its test would be by the runner's timeout, or never.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FollowedRecipe } from '../../node/cli/participant.ts';
import { waitForTokenizer } from '../../node/cli/roles/tokenizer.ts';
import { createTokenizer, type Tokenizer } from '../../node/model/tokenizer.ts';
import { testRecipe } from '../verifier/support/swarm.ts';

const ENDLESS = { Regex: '(?:x+)+y' };
const TEXT = 'x'.repeat(100);
const LIMITS = { loadMs: 200, textMs: 200 };
const TOO_SLOW = { code: 'TOKENIZER_TOO_SLOW' };
const options = { timeout: 30_000 };

function made(parts: object): Tokenizer {
  const nothing = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const model = { type: 'WordLevel', vocab: { [TEXT]: 0, z: 1 }, unk_token: 'z' };
  return createTokenizer({ ...nothing, model, ...parts }, {}, LIMITS);
}

const SPLIT = { type: 'Split', pattern: ENDLESS, behavior: 'Isolated', invert: false };
const REPLACE = { type: 'Replace', pattern: ENDLESS, content: '' };

for (const parts of [{ pre_tokenizer: SPLIT }, { normalizer: REPLACE }]) {
  test(`${Object.keys(parts)[0]}: the text that has no end is ended, and none is begun after it`, options, () => {
    const tokenizer = made(parts);
    assert.deepEqual(tokenizer.encode('z', { addSpecialTokens: false }), [1]);
    assert.throws(() => tokenizer.encode(TEXT, { addSpecialTokens: false }), TOO_SLOW);
    assert.throws(() => tokenizer.encode('z', { addSpecialTokens: false }), TOO_SLOW);
    assert.throws(() => tokenizer.decode([1]), TOO_SLOW);
  });
}

test('decoder: a completion that has no end is ended', options, () => {
  assert.throws(() => made({ decoder: REPLACE }).decode([0]), TOO_SLOW);
});

test('decoder: replacements of replacements are ended', options, () => {
  const twice = { type: 'Replace', pattern: { String: 'x' }, content: 'xx' };
  const decoder = { type: 'Sequence', decoders: new Array(60).fill(twice) };
  assert.throws(() => made({ decoder }).decode([0]), TOO_SLOW);
});

test('added tokens: a tokenizer that is never done is not made', options, () => {
  const added_tokens = [{ id: 2, content: TEXT, normalized: true }];
  assert.throws(() => made({ normalizer: REPLACE, added_tokens }), TOO_SLOW);
});

test('a role does not begin with such a tokenizer', options, async () => {
  const tokenizer = made({ pre_tokenizer: { ...SPLIT, pattern: { Regex: '(?:(?:(?:.|\\n)+)+)+\\u0000' } } });
  const followed = { known: { resolved: testRecipe() }, tokenizer: async () => tokenizer };
  const waiting = waitForTokenizer(followed as unknown as FollowedRecipe, AbortSignal.timeout(20_000));
  await assert.rejects(waiting, TOO_SLOW);
});
