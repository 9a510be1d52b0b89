// Recipes for tests: the shipped templates, completed with made-up keys and hashes.

import { readFileSync } from 'node:fs';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { completeRecipe, type RecipeFill } from '../../recipes/complete.ts';
import { parseRecipeText, type RecipeSource } from '../../recipes/schema.ts';

/** 32 made-up bytes in hex, the same for the same label. */
export function madeUpHex(label: string): string {
  return toHex(sha256(label));
}

/** Made-up keys and model hashes. */
export const FILL: RecipeFill = {
  author: madeUpHex('author'),
  trainers: [madeUpHex('trainer')],
  verifiers: [madeUpHex('verifier')],
  model: {
    initialPolicyRoot: madeUpHex('root'),
    configHash: madeUpHex('config'),
    tokenizerHash: madeUpHex('tokenizer'),
  },
};

/** A shipped recipe as its file says it. */
export function shippedTemplate(name: 'arrows' | 'largest' | 'sums' | 'sorting'): RecipeSource {
  const url = new URL(`../../recipes/${name}/recipe.yaml`, import.meta.url);
  return parseRecipeText(readFileSync(url, 'utf8'), 'yaml');
}

/** A shipped recipe with FILL, and fields replaced. */
export function shippedSource(
  name: 'arrows' | 'largest' | 'sums' | 'sorting',
  replaced: RecipeSource = {},
): RecipeSource {
  return completeRecipe({ ...shippedTemplate(name), ...replaced }, FILL);
}
