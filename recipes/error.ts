// What recipes, tasks and rewards throw. The message names the field, what was expected and what to do.

import { type ErrorCode, type ErrorDetail, SwarmError } from '../node/protocol/errors.ts';

/** Codes of this folder. */
export type RecipeErrorCode = Extract<ErrorCode, `RECIPE_${string}`>;

/** An error about a recipe or about what a recipe names. */
export class RecipeError extends SwarmError {
  constructor(
    code: RecipeErrorCode,
    message: string,
    detail: ErrorDetail = {},
    options?: { readonly cause?: unknown },
  ) {
    super(code, message, detail, options);
  }
}
