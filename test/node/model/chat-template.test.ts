// Chat templates against what Hugging Face transformers renders, against Python's jinja2, and made to do harm.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type ChatMessage, createChatTemplate } from '../../../node/model/chat-template.ts';
import { loadTokenizer } from '../../../node/model/tokenizer.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { readVector, vectorsDir } from '../../support/vectors-dir.ts';

interface Expected {
  readonly chats: {
    readonly messages: ChatMessage[];
    readonly add_generation_prompt: boolean;
    readonly text: string;
    readonly ids: number[];
  }[];
}

for (const name of readdirSync(join(vectorsDir(), 'tokenizers')).sort()) {
  test(`${name}: chats to texts and ids`, async () => {
    const tokenizer = await loadTokenizer(join(vectorsDir(), 'tokenizers', name));
    const render = createChatTemplate(tokenizer);
    const { chats } = readVector<Expected>('tokenizers', name, 'expected.json');
    assert.ok(chats.length > 0);
    for (const { messages, add_generation_prompt: addGenerationPrompt, text, ids } of chats) {
      assert.equal(render(messages, { addGenerationPrompt }), text);
      assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), ids);
    }
  });
}

const specialTokens = { bos_token: '<s>', eos_token: '</s>' };
const messages: ChatMessage[] = [
  { role: 'system', content: ' Be brief. ' },
  { role: 'user', content: "It's <2> & \u65e5?" },
  { role: 'assistant', content: 'ok' },
  { role: 'user', content: 'a\nb' },
];
const rendered = (chatTemplate: string, init = {}): string =>
  createChatTemplate({ chatTemplate, specialTokens }, init)(messages, { addGenerationPrompt: true });

/** Texts by Python's jinja2 3.1.6 in the environment of transformers' chat_template_utils.py. */
const TEMPLATES: readonly (readonly [what: string, template: string, text: string])[] = [];

describe('as jinja2 renders', () => {
  for (const [what, template, text] of TEMPLATES) test(what, () => assert.equal(rendered(template), text));
});

const failsWith = (code: 'CHAT_TEMPLATE_MISSING' | 'CHAT_TEMPLATE_FAILED') => (error: unknown) =>
  isSwarmError(error, code);

test('strftime_now is undefined without a clock, and local time with one', () => {
  const template =
    "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y, %-d %B %H:%M %A %j') }}{% else %}never{% endif %}";
  assert.equal(rendered(template), 'never');
  const now = (): Date => new Date(2026, 1, 3, 4, 5);
  assert.equal(rendered(template, { now }), '03 Feb 2026, 3 February 04:05 Tuesday 034');
});

test('a folder without a template, and an empty chat', () => {
  assert.throws(() => createChatTemplate({ chatTemplate: null, specialTokens }), failsWith('CHAT_TEMPLATE_MISSING'));
  const render = createChatTemplate({ chatTemplate: 'x', specialTokens });
  assert.throws(() => render([], { addGenerationPrompt: true }), failsWith('CHAT_TEMPLATE_FAILED'));
});

describe('templates that fail or do harm end with a code', () => {
  const nested = '{% for a in range(3000) %}'.repeat(4) + '{% endfor %}'.repeat(4);
  const hostile: Readonly<Record<string, string>> = {
    'does not parse': '{% if %}',
    'raises by itself': "{{ raise_exception('only users') }}",
    'adds to what is undefined': '{{ no_such_token + "x" }}',
    'runs for ever': nested,
    'a range too long': '{% for a in range(1000000000) %}{% endfor %}',
    'a range without end': '{{ range(1, 2, 0) }}',
    'recurses for ever': '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
    'doubles its text for ever':
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    'a text too long':
      "{% for i in range(90000) %}{{ 'x' * 100 }}{{ '0123456789012345678901234567890123456789012345678901234567890' }}{% endfor %}",
    'too long itself': 'x'.repeat((256 << 10) + 1),
  };
  for (const [what, template] of Object.entries(hostile)) {
    test(what, () => assert.throws(() => rendered(template, { timeoutMs: 300 }), failsWith('CHAT_TEMPLATE_FAILED')));
  }

  test('the budget of steps ends the same rendering on every machine, and an ordinary one is far from it', () => {
    const looped = (turns: number): string => `{% for i in range(${turns}) %}{{ i }}{% endfor %}`;
    assert.ok(rendered(looped(90_000), { timeoutMs: 60_000 }).endsWith('89999'));
    assert.throws(() => rendered(looped(90_000).repeat(9), { timeoutMs: 60_000 }), /steps/);
  });

  test('reaches no JavaScript', () => {
    for (const path of ['constructor', '__proto__', 'constructor.constructor']) {
      assert.equal(rendered(`{{ 1 if messages.${path} is defined or messages[0].${path} is defined else 0 }}`), '0');
    }
  });
});
