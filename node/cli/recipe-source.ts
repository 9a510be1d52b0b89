// A recipe as a command is given it (a file, or the name of a shipped one), completed with keys and the model's hashes.

import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { completeRecipe, type RecipeFill } from '../../recipes/complete.ts';
import { canonicalRecipe, parseRecipeText, type RecipeSource } from '../../recipes/schema.ts';
import { SwarmError } from '../protocol/errors.ts';
import { shippedRecipeFile } from './shipped.ts';

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
      `no recipe file ${text} (.yaml, .yml or .json) and no shipped recipe of that name; shipped are arrows, largest, sums and sorting`,
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
