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
  { role: 'user', content: "It's <2> & 日?" },
  { role: 'assistant', content: '<think>\nhm\n</think>\n\nok' },
  { role: 'user', content: 'a\nb\n' },
];
const rendered = (chatTemplate: string, init = {}): string =>
  createChatTemplate({ chatTemplate, specialTokens }, init)(messages, { addGenerationPrompt: true });

/** Texts by Python's jinja2 3.1.6 in the environment of transformers' chat_template_utils.py. */
const TEMPLATES: readonly (readonly [what: string, template: string, text: string])[] = [
  [
    'blocks trimmed and indentation stripped, comments gone',
    "{# a comment\n over lines #}\n{% for m in messages %}\n  {% if m.role == 'user' %}\nUser: {{ m.content }}\n  {% else %}\n{{ m.role }}: {{ m.content }}\n  {% endif %}\n{% endfor %}\nend\n",
    "system:  Be brief. \nUser: It's <2> & 日?\nassistant: <think>\nhm\n</think>\n\nok\nUser: a\nb\n\nend",
  ],
  [
    'minus signs eat space on their side',
    "a {%- for m in messages -%}  [{{- m.content -}}]  {%- endfor %} b \n {{- 'c' }}",
    "a[ Be brief. ][It's <2> & 日?][<think>\nhm\n</think>\n\nok][a\nb\n] bc",
  ],
  [
    'loop variables and alternating roles',
    "{% for m in messages[1:] %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.length }}{% if loop.first %}F{% endif %}{% if loop.last %}L{% endif %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}{{ loop.previtem.role if loop.previtem is defined else '-' }} {% endfor %}",
    '1/0/3F- 2/1/3user 3/2/3Lassistant ',
  ],
  [
    "a reasoning model's template: backwards loop, split, strip, namespace",
    "{%- set ns = namespace(multi=true, last=messages|length - 1) %}{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi and message.role == 'user' and message.content is string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}{%- set ns.multi = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}last={{ ns.last }}\n{%- for message in messages %}{%- set content = message.content %}{%- set reasoning = '' %}{%- if message.reasoning_content is string %}{%- set reasoning = message.reasoning_content %}{%- elif '</think>' in content %}{%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}{{- '<|im_start|>' + message.role + '\\n' + content.strip('\\n') + '|' + reasoning.strip() + '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>' }}{%- endif %}{%- endif %}",
    "last=3<|im_start|>system\n Be brief. |<|im_end|>\n<|im_start|>user\nIt's <2> & 日?|<|im_end|>\n<|im_start|>assistant\nok|hm<|im_end|>\n<|im_start|>user\na\nb|<|im_end|>\n<|im_start|>assistant\n",
  ],
  [
    'what is passed: tokens, no tools, no documents',
    "{{ bos_token }}{{ eos_token }}{% if pad_token is defined %}pad{% endif %}{% if tools %}tools{% endif %}{{ 'none' if tools is none else 'some' }}{{ 'none' if documents is none else 'some' }}{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}",
    '<s></s>nonenone26 Jul 2024',
  ],
  [
    'a macro with defaults, called twice',
    "{% macro turn(role, text, end=eos_token) -%}\n[{{ role|upper }}] {{ text | trim }}{{ end }}\n{%- endmacro %}{% for m in messages %}{{ turn(m.role, m.content) }}{{ turn(m.role, text='x', end='.') }}{% endfor %}",
    "[SYSTEM] Be brief.</s>[SYSTEM] x.[USER] It's <2> & 日?</s>[USER] x.[ASSISTANT] <think>\nhm\n</think>\n\nok</s>[ASSISTANT] x.[USER] a\nb</s>[USER] x.",
  ],
  [
    "tojson as Python's json.dumps",
    "{{ messages[1] | tojson }}\n{{ {'a': [1, 2.5, true, none], 'b': {}} | tojson }}\n{{ {'a': [1, 'z']} | tojson(indent=2) }}",
    '{"role": "user", "content": "It\'s <2> & 日?"}\n{"a": [1, 2.5, true, null], "b": {}}\n{\n  "a": [\n    1,\n    "z"\n  ]\n}',
  ],
  [
    'filters',
    "{{ messages | map(attribute='role') | join(', ') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | length }} {{ 'a' ~ 1 ~ 'b' }} {{ no_such | default('d') }} {{ 'Hello World' | lower | replace('o', '0') }} {{ 'ab' | capitalize }} {{ '  x ' | trim }} {{ [1,2,3] | first }}{{ [1,2,3] | last }} {{ 'x' if 'ab' in 'cabd' else 'y' }}",
    'system, user, assistant, user 2 4 a1b d hell0 w0rld Ab x 13 x',
  ],
  [
    'break and continue',
    "{% for m in messages %}{% if m.role == 'assistant' %}{% break %}{% endif %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
    "It's <2> & 日?",
  ],
  [
    'generation tags print nothing',
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{%- generation -%}  y  {%- endgeneration -%}{% endif %}\n{% endfor %}",
    " Be brief. yIt's <2> & 日?y<think>\nhm\n</think>\n\noka\nb\ny",
  ],
  [
    'conditions: and, or, not, in, is; first message taken off',
    "{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] | trim %}{% set messages = messages[1:] %}{% else %}{% set system_message = '' %}{% endif %}{{ system_message }}|{{ messages[0].role }}|{% if 'x' in ['x', 'y'] and not (1 > 2 or false) %}ok{% endif %}{% if messages[0].name is not defined %}anon{% endif %}{% if messages[-1].role in ('user', 'tool') %}last{% endif %}",
    'Be brief.|user|okanonlast',
  ],
  [
    'for with an else, a filter in the loop, dict items',
    "{% for m in messages if m.role == 'nobody' %}x{% else %}nobody{% endfor %}{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{% endfor %}{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "nobody1It's <2> & 日?2a\nb\na=1;b=2;",
  ],
  [
    'quotes, escapes, non-ASCII, and braces in strings',
    "{{ \"it's\" }} {{ 'say \"hi\"' }} {{ 'tab\\tnew\\nline' }} {{ '日本 🙂' }} {{ '{{ not }}' }} {{ '\\\\' }}",
    'it\'s say "hi" tab\tnew\nline 日本 🙂 {{ not }} \\',
  ],
  [
    'numbers',
    "{{ 7 // 2 }} {{ 7 % 3 }} {{ 1 + 2 * 3 }} {{ 3 / 2 }} {{ (1, 2)|length }} {{ range(3)|join('-') }} {{ [1,2,3][1:] | join }} {{ 2 ** 3 }}",
    '3 1 7 1.5 2 0-1-2 23 8',
  ],
  [
    'set block and string methods',
    "{% set text %}a {{ messages[1].content }} b{% endset %}{{ text.upper() }} {{ text.split(' ') | length }} {{ text.replace('a', 'A') }} {{ 'x,y'.split(',')[0] }} {{ text.title() }}",
    "A IT'S <2> & 日? B 6 A It's <2> & 日? b x A It'S <2> & 日? B",
  ],
  [
    'strip with characters',
    "{{ 'xxabxx'.strip('x') }}|{{ 'xxabxx'.lstrip('x') }}|{{ 'xxabxx'.rstrip('xb') }}|{{ messages[0].content.strip(' B') }}|{{ messages[3].content.strip('\\n').strip() }}|{{ ' a '.strip() }}|{{ ('x' + '\\n\\n').rstrip('\\n') }}|{{ '🙂a🙂'.strip('🙂') }}",
    'ab|abxx|xxa|e brief.|a\nb|a|x|a',
  ],
  ['what is undefined prints nothing', '[{{ no_such }}][{{ messages[0].no_such }}]', '[][]'],
];

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
    'strip of what is no text': '{{ no_such.strip("x") }}',
    'strip by a number': '{{ "x".strip(1) }}',
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
