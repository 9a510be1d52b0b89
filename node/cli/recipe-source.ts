// A recipe as a command is given it (a file, or the name of a shipped one), completed with keys and the model's hashes.

import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { completeRecipe, type RecipeFill } from '../../recipes/complete.ts';
import { type ResolvedRecipe, resolveRecipe } from '../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe, parseRecipeText, type RecipeSource } from '../../recipes/schema.ts';
import type { RecipeModel } from '../../recipes/sections.ts';
import { SwarmError } from '../protocol/errors.ts';
import { SHIPPED_RECIPES, shippedRecipeFile } from './shipped.ts';

/**
 * @param text a path to YAML or JSON, or the name of a shipped recipe
 * @throws {SwarmError} RECIPE_NOT_FOUND
 */
export function findRecipeFile(text: string): string {
  const file = [resolve(text), shippedRecipeFile(text)].find(
    (path) => statSync(path, { throwIfNoEntry: false })?.isFile() && /\.(ya?ml|json)$/.test(path),
  );
  if (file === undefined) {
    throw new SwarmError(
      'RECIPE_NOT_FOUND',
      `no recipe file ${text} (.yaml, .yml or .json) and no shipped recipe of that name; shipped are ${SHIPPED_RECIPES}`,
      { recipe: text },
    );
  }
  return file;
}

/**
 * @param text as `findRecipeFile`
 * @throws {SwarmError} RECIPE_NOT_FOUND, RECIPE_INVALID, RECIPE_TOO_LARGE
 */
export async function readRecipeSource(text: string): Promise<RecipeSource> {
  const file = findRecipeFile(text);
  return parseRecipeText(await readFile(file, 'utf8'), extname(file) === '.json' ? 'json' : 'yaml');
}

/** The bytes that are signed: template and what only the submitter knows. */
export function completeToBytes(source: RecipeSource, fill: RecipeFill): Uint8Array {
  return canonicalRecipe(completeRecipe(source, fill));
}

/** Stands in for keys and hashes of a recipe that is only asked for its tasks. */
export const NOBODY: string = '0'.repeat(64);

/** A recipe that nobody signs, with any model: what it says of its own author and model is left out. */
export function resolveUnsigned(source: RecipeSource, model: RecipeModel): ResolvedRecipe {
  const { model: _own, author: _author, ...rest } = source;
  return resolveRecipe(parseRecipe(completeToBytes(rest, { author: NOBODY, trainers: [NOBODY], model })));
}
