// Prompts: the chats of the vectors as Hugging Face transformers renders them, golden texts of a recipe's own chats under
// three tokenizers, and recipes that do not fit a model. The golden file is written with MURMUR_UPDATE=1.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadTokenizer, type Tokenizer } from '../../node/model/tokenizer.ts';
import { type ErrorCode, isSwarmError } from '../../node/protocol/errors.ts';
import { MAX_PROMPT_TOKENS } from '../../node/protocol/limits.ts';
import { checkFits, type PromptTokenizer, promptOf, shownPrompt } from '../../recipes/prompt.ts';
import { type ResolvedRecipe, resolveRecipe } from '../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe, type RecipeSource } from '../../recipes/schema.ts';
import type { ChatTurn } from '../../recipes/tasks/task.ts';
import { shippedSource } from '../support/recipe-sources.ts';
import { readVector, vectorsDir } from '../support/vectors-dir.ts';

interface Expected {
  readonly chats: { messages: ChatTurn[]; add_generation_prompt: boolean; text: string; ids: number[] }[];
  readonly texts: { text: string; ids_with_special: number[] }[];
}

const NAMES = readdirSync(join(vectorsDir(), 'tokenizers')).sort();
const tokenizerOf = (name: string): Promise<Tokenizer> => loadTokenizer(join(vectorsDir(), 'tokenizers', name));
const refuses = (run: () => unknown, code: ErrorCode): void =>
  assert.throws(run, (error) => isSwarmError(error, code), `not ${code}`);

function resolved(replaced: RecipeSource): ResolvedRecipe {
  return resolveRecipe(parseRecipe(canonicalRecipe(shippedSource('arrows', replaced))));
}

for (const name of NAMES) {
  test(`${name}: chats and raw prompts as transformers makes them`, async () => {
    const tokenizer = await tokenizerOf(name);
    const { chats, texts } = readVector<Expected>('tokenizers', name, 'expected.json');
    let asked = 0;
    for (const { messages, add_generation_prompt: isPrompt, text, ids } of chats) {
      const last = messages.at(-1)!;
      if (!isPrompt || last.role !== 'user') continue;
      const made = promptOf(tokenizer, { prompt: last.content, answer: '', turns: messages.slice(0, -1) });
      assert.deepEqual([made.text, [...made.tokens]], [text, ids]);
      asked++;
    }
    assert.ok(asked > 0, 'no chat of the vectors ends with a question');
    for (const { text, ids_with_special: ids } of texts) {
      assert.deepEqual([...promptOf(tokenizer, { prompt: text, answer: '' }).tokens], ids);
    }
  });
}

test('a recipe makes the same chat text for everybody, for ever', async () => {
  const url = new URL('golden/prompts.json', import.meta.url);
  const recipe = resolved({
    tasks: [{ task: 'largest@1', chat: { system: 'Say the largest number.', examples: 2 } }],
  });
  const chats: Record<string, string> = {};
  for (const name of NAMES) chats[name] = promptOf(await tokenizerOf(name), recipe.heldOutProblems(1, 0)[0]!).text;
  if (process.env['MURMUR_UPDATE'] === '1') writeFileSync(url, `${JSON.stringify(chats, null, 2)}\n`);
  assert.deepEqual(chats, JSON.parse(readFileSync(url, 'utf8')));
});

test('a recipe that does not fit its model is refused: no template, a foreign end token', async () => {
  const starter = await loadTokenizer(fileURLToPath(new URL('../../recipes/starter', import.meta.url)));
  const chat = { tasks: [{ task: 'sums@1', chat: { examples: 1 } }] };
  checkFits(resolved({}), starter);
  refuses(() => checkFits(resolved(chat), starter), 'CHAT_TEMPLATE_MISSING');
  const sampling = { maxNewTokens: 4, endTokens: [starter.vocabSize] };
  refuses(() => checkFits(resolved({ sampling }), starter), 'RECIPE_INVALID');
  const chatml = await tokenizerOf('gpt2-style-chatml');
  checkFits(resolved(chat), chatml);
  const strict = { ...chatml, chatText: (): string => assert.fail('raw prompts need no template') };
  checkFits(resolved({}), strict);
});

test('what is shown: a raw prompt runs on into its completion, a question does not', () => {
  assert.equal(shownPrompt({ prompt: '1+1=', answer: '2' }), '1+1=');
  assert.equal(shownPrompt({ prompt: 'How many?', answer: '2', turns: [] }), 'How many? ');
});

test('a prompt too long is refused before and after it is encoded', () => {
  const oneEach: PromptTokenizer = {
    vocabSize: 2,
    encode: (text) => Array.from({ length: text.length }, () => 1),
    chatText: () => assert.fail(),
  };
  const asked = (length: number): number => promptOf(oneEach, { prompt: 'x'.repeat(length), answer: '' }).tokens.length;
  assert.equal(asked(MAX_PROMPT_TOKENS), MAX_PROMPT_TOKENS);
  refuses(() => asked(MAX_PROMPT_TOKENS + 1), 'RECIPE_INVALID');
  refuses(
    () => promptOf({ ...oneEach, encode: () => assert.fail() }, { prompt: 'x'.repeat(1 << 19), answer: '' }),
    'RECIPE_INVALID',
  );
});
