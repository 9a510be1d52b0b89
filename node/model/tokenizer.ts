// Text <-> token ids, by @huggingface/tokenizers from a local folder (tokenizer.json, tokenizer_config.json).
// That package is the tokenizer part of @huggingface/transformers alone, which would bring onnxruntime-web and sharp:
// a node at rest stays small. Decoding keeps special tokens, as rewards are computed on it (spec/rollouts.md).
// Invariant: the files may be a stranger's, whose regular expression backtracks for ever: it holds the thread up once, for
// seconds; from then on that tokenizer only throws.

import { join } from 'node:path';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { SwarmError } from '../protocol/errors.ts';
import { type ChatMessage, type ChatTemplate, createChatTemplate } from './chat-template.ts';
import { createTimeLimit, TimeLimitError } from './time-limit.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';
import { checkTokens } from './tokenizer-limits.ts';

/** How long a tokenizer may take, far more than honest ones need on a busy machine, and less than peers wait for an answer. */
export interface TokenizerLimits {
  /** to be made: 151 936 tokens take a second (measured) */
  readonly loadMs: number;
  /** for one text: the longest prompts take some ten milliseconds (measured) */
  readonly textMs: number;
}

const LIMITS: TokenizerLimits = { loadMs: 15_000, textMs: 5_000 };

/** @throws from all functions: TOKENIZER_TOO_SLOW, once one took longer than it may */
export interface Tokenizer {
  /** one more than the largest id that has a token */
  readonly vocabSize: number;
  /** @throws {SwarmError} TEXT_NOT_ENCODABLE: some of the text has no token */
  encode(text: string, options: { readonly addSpecialTokens: boolean }): number[];
  /** special tokens kept, nothing cleaned up */
  decode(ids: readonly number[] | Uint32Array): string;
  idOf(token: string): number | undefined;
  tokenText(id: number): string | undefined;
  /** chat_template.jinja, else tokenizer_config.json's chat template, when there is one */
  readonly chatTemplate: string | null;
  /** texts of the special tokens that a chat template may name (bos_token, eos_token, …) */
  readonly specialTokens: Readonly<Record<string, string>>;
  /**
   * The turns in the chat template, up to where the model's answer begins; the same on every machine and day.
   * @throws {SwarmError} CHAT_TEMPLATE_MISSING, CHAT_TEMPLATE_FAILED
   */
  chatText(turns: readonly ChatMessage[]): string;
}

type Json = Readonly<Record<string, unknown>>;

function asJson(bytes: Uint8Array, path: string): Json {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof parsed === 'object' && parsed !== null) return parsed as Json;
  } catch {
    // reported below with the file's name
  }
  throw new SwarmError('MODEL_FILE_CORRUPT', `${path} is not a JSON object. Fetch it again.`, { path });
}

function specialTokensOf(config: Json): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const name of ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token', 'mask_token']) {
    const value = config[name];
    const text = typeof value === 'object' && value !== null ? (value as Json).content : value;
    if (typeof text === 'string') tokens[name] = text;
  }
  return tokens;
}

/** One template, or the one called `default` of several. */
function chatTemplateOf({ chat_template: template }: Json): string | null {
  const named = Array.isArray(template) ? template.find((entry) => entry?.name === 'default')?.template : template;
  return typeof named === 'string' ? named : null;
}

/** Runs what the package does, under a limit of time or, 0, without. */
type Guard = <T>(limitMs: number, work: () => T) => T;

/** A guard that gives what the package throws a code: some of it comes only with a text. */
function createGuard(): Guard {
  const limited = createTimeLimit();
  let tooSlow: SwarmError | null = null;
  return (limitMs, work) => {
    if (tooSlow !== null) throw tooSlow;
    try {
      return limitMs === 0 ? work() : limited(limitMs, work);
    } catch (cause) {
      if (!(cause instanceof TimeLimitError))
        throw new SwarmError('MODEL_FILE_CORRUPT', 'tokenizer.json is of no kind that is known.', {}, { cause });
      const message = `tokenizer.json took over ${limitMs} ms: its regular expressions may have no end. Use another model.`;
      tooSlow = new SwarmError('TOKENIZER_TOO_SLOW', message, { limitMs }, { cause });
      throw tooSlow;
    }
  };
}

/** Whether decoding may take for ever: by a regular expression, or by replacing what was put in by replacing. */
function mayDecodeSlowly({ decoder }: Json): boolean {
  const text = JSON.stringify(decoder) ?? '';
  return text.includes('"Regex"') || text.split('"Replace"').length > 2;
}

/**
 * Wraps the package's tokenizer; it reports text without a token as `undefined` or the unknown token's id.
 * @throws {SwarmError} MODEL_FILE_CORRUPT, TOKENIZER_TOO_SLOW
 */
export function createTokenizer(
  tokenizerJson: Json,
  tokenizerConfig: Json,
  limits: TokenizerLimits = LIMITS,
): Tokenizer {
  checkTokens(tokenizerJson);
  const guarded = createGuard();
  // Its normalizer, regular expressions and all, runs over the texts of added tokens here.
  const inner = guarded(limits.loadMs, () => new HuggingFaceTokenizer(tokenizerJson, tokenizerConfig));
  // Watching costs more than most completions take to decode, and few decoders need it.
  const decodeMs = mayDecodeSlowly(tokenizerJson) ? limits.textMs : 0;
  const chatTemplate = chatTemplateOf(tokenizerConfig);
  const specialTokens = specialTokensOf(tokenizerConfig);
  let render: ChatTemplate | null = null;
  let vocabSize = 0;
  for (const id of guarded(0, () => inner.get_vocab(true).values())) vocabSize = Math.max(vocabSize, id + 1);
  const encode = (text: string, options: { readonly addSpecialTokens: boolean }): number[] => {
    const { ids } = guarded(limits.textMs, () => inner.encode(text, { add_special_tokens: options.addSpecialTokens }));
    const missing = ids.findIndex((id: number) => !Number.isInteger(id));
    if (missing >= 0) {
      throw new SwarmError('TEXT_NOT_ENCODABLE', 'Some of the text has no token in this vocabulary.', {
        text: text.slice(0, 80),
      });
    }
    return ids;
  };
  return {
    vocabSize,
    encode,
    decode: (ids) =>
      ids.length === 0
        ? ''
        : guarded(decodeMs, () =>
            inner.decode([...ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
          ),
    idOf: (token) => inner.token_to_id(token),
    tokenText: (id) => inner.id_to_token(id),
    chatTemplate,
    specialTokens,
    chatText: (turns) => {
      render ??= createChatTemplate({ chatTemplate, specialTokens });
      return render(turns, { addGenerationPrompt: true });
    },
  };
}

/**
 * Reads a tokenizer from a model folder.
 * @param modelVocabSize rows of the model's embedding: the vocabulary may be smaller (padding), never larger
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, TOKENIZER_MISMATCH, TOKENIZER_TOO_SLOW
 */
export async function loadTokenizer(dir: string, modelVocabSize?: number): Promise<Tokenizer> {
  const files = await readTokenizerFiles(dir);
  const tokenizer = createTokenizer(
    asJson(files.tokenizer, join(dir, 'tokenizer.json')),
    asJson(files.tokenizerConfig, join(dir, 'tokenizer_config.json')),
  );
  if (modelVocabSize !== undefined && tokenizer.vocabSize > modelVocabSize) {
    throw new SwarmError(
      'TOKENIZER_MISMATCH',
      `The tokenizer has ${tokenizer.vocabSize} ids, the model ${modelVocabSize} rows. Use the tokenizer that belongs to the model.`,
      { tokenizer: tokenizer.vocabSize, model: modelVocabSize },
    );
  }
  return tokenizer;
}
