// What a model is given to go on from: a problem's prompt as it is, or the chat that asks it in the model's own template.
// Source: spec/wire.md "Text": raw prompts are encoded with the tokenizer's special tokens, templated ones without.
// Invariant: a function of problem and tokenizer files alone (templates get no clock), so every peer has the same tokens.

import { MAX_PROMPT_TOKENS } from '../node/protocol/limits.ts';
import { RecipeError } from './error.ts';
import type { ResolvedRecipe } from './resolve.ts';
import type { ChatTurn, Problem } from './tasks/task.ts';

/** Longer texts are not encoded: even the shortest tokens are a byte, and the usual ones four. */
const MAX_PROMPT_CHARACTERS = 4 * MAX_PROMPT_TOKENS;

/** The part of a tokenizer that prompts need. */
export interface PromptTokenizer {
  /** one more than the largest id that has a token */
  readonly vocabSize: number;
  encode(text: string, options: { readonly addSpecialTokens: boolean }): readonly number[];
  /** @throws {SwarmError} CHAT_TEMPLATE_MISSING, CHAT_TEMPLATE_FAILED */
  chatText(turns: readonly ChatTurn[]): string;
}

/**
 * Text and tokens of a problem's prompt.
 * @throws {SwarmError} CHAT_TEMPLATE_MISSING, CHAT_TEMPLATE_FAILED, TEXT_NOT_ENCODABLE; RECIPE_INVALID: too long
 */
export function promptOf(
  tokenizer: PromptTokenizer,
  { prompt, turns }: Problem,
): { readonly text: string; readonly tokens: Uint32Array } {
  const text = turns === undefined ? prompt : tokenizer.chatText([...turns, { role: 'user', content: prompt }]);
  if (text.length > MAX_PROMPT_CHARACTERS) throw tooLong('characters', text.length, MAX_PROMPT_CHARACTERS);
  const tokens = Uint32Array.from(tokenizer.encode(text, { addSpecialTokens: turns === undefined }));
  if (tokens.length > MAX_PROMPT_TOKENS) throw tooLong('tokens', tokens.length, MAX_PROMPT_TOKENS);
  return { text, tokens };
}

/** What is shown of a problem before its completion: a raw prompt runs on into it, a question is answered. */
export function shownPrompt({ prompt, turns }: Problem): string {
  return turns === undefined ? prompt : `${prompt} `;
}

function tooLong(unit: string, got: number, most: number): RecipeError {
  return new RecipeError('RECIPE_INVALID', `a prompt of ${got} ${unit}, over ${most}: shorten the task's turns`, {
    got,
    most,
  });
}

/**
 * Asks one problem of each split and looks at the ids that end a completion, so that a recipe that does not fit its
 * model is refused before any work is done.
 * @throws {SwarmError} as `promptOf`; RECIPE_INVALID: an end token that the tokenizer does not have
 */
export function checkFits(recipe: ResolvedRecipe, tokenizer: PromptTokenizer): void {
  promptOf(tokenizer, recipe.problemFor(new Uint8Array(32)).problem);
  for (const problem of recipe.heldOutProblems(1, 0)) promptOf(tokenizer, problem);
  const foreign = recipe.recipe.sampling.endTokens.find((id) => id >= tokenizer.vocabSize);
  if (foreign === undefined) return;
  throw new RecipeError(
    'RECIPE_INVALID',
    `recipe.sampling.endTokens: ${foreign} is no id of the model's ${tokenizer.vocabSize} tokens; name the model's own`,
    { endToken: foreign, tokens: tokenizer.vocabSize },
  );
}
