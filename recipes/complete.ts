// A recipe template, as shipped, lacks what only the one who submits it knows: keys and the hashes of the model.
// Invariant: what the template says itself stays; only the author must be the key that signs.

import { RecipeError } from './error.ts';
import { isJsonObject, type JsonObject } from './json.ts';
import { canonicalRecipe, type RecipeSource } from './schema.ts';
import type { RecipeModel } from './sections.ts';

/** What is filled in at submission. Keys are 64 lower-case hex digits. */
export interface RecipeFill {
  readonly author: string;
  readonly trainers: readonly string[];
  readonly verifiers?: readonly string[];
  readonly model: RecipeModel;
}

function section(template: RecipeSource, name: string): JsonObject {
  const value = template[name];
  return isJsonObject(value) ? value : {};
}

/**
 * Fills in keys and model where the template leaves them out.
 * @returns a source that passes the schema; see canonicalRecipe for its bytes
 * @throws {RecipeError} RECIPE_INVALID, RECIPE_UNKNOWN_TASK, RECIPE_UNKNOWN_REWARD, RECIPE_TOO_LARGE
 */
export function completeRecipe(template: RecipeSource, fill: RecipeFill): RecipeSource {
  const named = template['author'];
  if (named !== undefined && named !== fill.author) {
    throw new RecipeError(
      'RECIPE_INVALID',
      `recipe.author: names another key than the one that signs, ${fill.author}; take the field out`,
      { path: 'recipe.author' },
    );
  }
  const verification = section(template, 'verification');
  const completed: RecipeSource = {
    ...template,
    author: fill.author,
    trainers: template['trainers'] ?? fill.trainers,
    model: template['model'] === undefined ? { ...fill.model } : { ...fill.model, ...section(template, 'model') },
    ...(fill.verifiers === undefined || verification['verifiers'] !== undefined
      ? {}
      : { verification: { ...verification, verifiers: fill.verifiers } }),
  };
  canonicalRecipe(completed);
  return completed;
}
