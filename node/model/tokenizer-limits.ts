// What is asked of a tokenizer.json before the tokenizer package sees it: it may be a stranger's, whose recipe names it. The package
// fills a table up to the largest id, so one id of 3 000 000 000 in a file of a kilobyte stops the thread (measured: for minutes); so does
// a token whose text is an object with such a length.

import { SwarmError } from '../protocol/errors.ts';

/** As many rows as an embedding may have. Our own: the largest vocabularies in use have some 260 000. */
const MAX_TOKENS = 2 ** 24;
/** Ids may have holes, but not many times more than there are tokens. Our own: those in use have next to none. */
const MAX_IDS_A_TOKEN = 16;
const MAX_SPARE_IDS = 2 ** 16;

type Json = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null;
}

/** Ids that the file gives to its tokens, of whatever type they are. */
function idsOf({ model, added_tokens: added }: Json): { readonly ids: readonly unknown[]; readonly tokens: number } {
  const vocabulary = isObject(model) && isObject(model.vocab) ? model.vocab : {};
  const extra = Array.isArray(added) ? added : [];
  // A list of [token, score] numbers its tokens itself.
  const ids = Array.isArray(vocabulary) ? [] : Object.values(vocabulary);
  return {
    ids: [...ids, ...extra.map((token: unknown) => (isObject(token) ? token.id : token))],
    tokens: (Array.isArray(vocabulary) ? vocabulary.length : ids.length) + extra.length,
  };
}

/** Whether all tokens that are added have a text. */
function haveTexts({ added_tokens: added }: Json): boolean {
  const extra: readonly unknown[] = Array.isArray(added) ? added : [];
  return extra.every((token) => !isObject(token) || typeof token.content === 'string');
}

/**
 * Refuses a tokenizer whose ids are none, or far more than its tokens, and added tokens without a text.
 * @throws {SwarmError} MODEL_FILE_CORRUPT
 */
export function checkTokens(tokenizerJson: Json): void {
  if (!haveTexts(tokenizerJson)) {
    throw new SwarmError('MODEL_FILE_CORRUPT', 'tokenizer.json adds a token that has no text. Use another model.', {});
  }
  const { ids, tokens } = idsOf(tokenizerJson);
  const below = Math.min(MAX_TOKENS, MAX_IDS_A_TOKEN * tokens + MAX_SPARE_IDS);
  const wrong = ids.find((id) => typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= below);
  if (wrong === undefined && !ids.includes(undefined)) return;
  throw new SwarmError(
    'MODEL_FILE_CORRUPT',
    `tokenizer.json gives a token the id ${JSON.stringify(wrong)?.slice(0, 80)}, not a whole number below ${below}. Fetch it again, or use another model.`,
    { tokens, below },
  );
}
