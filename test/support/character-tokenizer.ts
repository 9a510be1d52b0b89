// A tokenizer of one token a character, in the two files that Hugging Face tokenizers are kept in.
// Ids are 0 `<|pad|>`, 1 `<|eos|>`, 2 `<|unk|>`, then the characters in the order given. There is no
// bos: encoding with special tokens gives the characters and nothing else. A character without a token encodes as
// `<|unk|>`, so that it can be seen and refused instead of vanishing.

import { RecipeError } from '../../recipes/error.ts';

/** Ids and texts of the special tokens; the end token is what a completion is ended by. */
export const PAD_TOKEN = { id: 0, text: '<|pad|>' } as const;
export const EOS_TOKEN = { id: 1, text: '<|eos|>' } as const;
export const UNKNOWN_TOKEN = { id: 2, text: '<|unk|>' } as const;
const SPECIAL_TOKENS = [PAD_TOKEN, EOS_TOKEN, UNKNOWN_TOKEN] as const;

/** 29 characters that, with three special tokens, make the starter model's 32: what arrows, sorting and sums write. */
export const STARTER_CHARACTERS = 'abcdefgh0123456789,:=<>+-*./ ';

/** Texts of the two files. */
export interface TokenizerFiles {
  readonly tokenizerJson: string;
  readonly tokenizerConfigJson: string;
}

function tokenizerObject(characters: readonly string[]): object {
  const vocab: Record<string, number> = Object.fromEntries(SPECIAL_TOKENS.map((token) => [token.text, token.id]));
  for (const [i, character] of characters.entries()) vocab[character] = SPECIAL_TOKENS.length + i;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((token) => ({
      id: token.id,
      content: token.text,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'Fuse' },
    // BPE without merges leaves every character by itself.
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: UNKNOWN_TOKEN.text,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: [],
    },
  };
}

/**
 * The tokenizer of these characters.
 * @param characters each once, one Unicode code point a token
 * @throws {RecipeError} RECIPE_INVALID when a character comes twice
 */
export function characterTokenizer(characters: string): TokenizerFiles {
  const list = [...characters];
  if (new Set(list).size !== list.length) {
    throw new RecipeError('RECIPE_INVALID', `a tokenizer's characters must differ, got ${JSON.stringify(characters)}`);
  }
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
    model_max_length: 1_000_000,
    pad_token: PAD_TOKEN.text,
    eos_token: EOS_TOKEN.text,
    unk_token: UNKNOWN_TOKEN.text,
  };
  return {
    tokenizerJson: `${JSON.stringify(tokenizerObject(list), null, 2)}\n`,
    tokenizerConfigJson: `${JSON.stringify(config, null, 2)}\n`,
  };
}
