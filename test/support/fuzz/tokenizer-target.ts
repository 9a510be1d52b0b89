// tokenizer.json and tokenizer_config.json of a stranger's recipe: built, then asked for text and for ids.

import { readFileSync } from 'node:fs';
import { createTokenizer } from '../../../node/model/tokenizer.ts';
import { fromUtf8, utf8 } from '../../../node/protocol/bytes.ts';
import { jsonMutator } from './mutate-json.ts';
import type { FuzzTarget } from './run.ts';

const MIB = 2 ** 20;

interface Files {
  readonly tokenizer: Readonly<Record<string, unknown>>;
  readonly config: Readonly<Record<string, unknown>>;
}

function starterFile(name: string): Readonly<Record<string, unknown>> {
  const url = new URL(`../../../recipes/starter/${name}`, import.meta.url);
  return JSON.parse(readFileSync(url, 'utf8')) as Readonly<Record<string, unknown>>;
}

/** The starter's word-level one, a small BPE and a small unigram model, with the parts around them. */
function seeds(): readonly Files[] {
  const [tokenizer, config] = [starterFile('tokenizer.json'), starterFile('tokenizer_config.json')];
  const bpe = {
    ...tokenizer,
    model: { type: 'BPE', vocab: { a: 0, b: 1, c: 2, ab: 3, '<unk>': 4 }, merges: ['a b'], unk_token: '<unk>' },
    normalizer: {
      type: 'Sequence',
      normalizers: [{ type: 'NFKC' }, { type: 'Replace', pattern: { String: 'x' }, content: 'y' }],
    },
    pre_tokenizer: { type: 'Split', pattern: { Regex: '[ab]+' }, behavior: 'Isolated', invert: false },
    post_processor: {
      type: 'TemplateProcessing',
      ...{ single: [{ Sequence: { id: 'A', type_id: 0 } }], pair: [], special_tokens: {} },
    },
    decoder: { type: 'ByteLevel' },
  };
  const vocab = [
    ['a', -1],
    ['b', -2],
    ['<unk>', 0],
  ];
  const unigram = {
    ...tokenizer,
    model: { type: 'Unigram', vocab, unk_id: 2 },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
    decoder: { type: 'Metaspace', replacement: '▁' },
  };
  return [tokenizer, bpe, unigram].map((each) => ({ tokenizer: each, config }));
}

export const tokenizerFiles: FuzzTarget = {
  name: 'tokenizer files',
  maxBytes: 64 * 1024,
  allows: { base: 24 * MIB, factor: 2_000 },
  codes: ['MALFORMED', 'MODEL_FILE_CORRUPT', 'TEXT_NOT_ENCODABLE', 'TOKENIZER_TOO_SLOW'],
  mutate: jsonMutator(),
  seeds: () => seeds().map((each) => utf8(JSON.stringify(each))),
  decode(bytes) {
    let files: Partial<Files> | null;
    try {
      files = JSON.parse(fromUtf8(bytes)) as Partial<Files> | null;
    } catch {
      return 'MALFORMED';
    }
    const made = createTokenizer(Object(files?.tokenizer), Object(files?.config), { loadMs: 1_000, textMs: 1_000 });
    return made.decode([...made.encode('ab d3e2', { addSpecialTokens: true }), 0, 5]);
  },
};
