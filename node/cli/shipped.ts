// Where the files that come with Murmuration lie: the starter model and the shipped recipes.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Names of the shipped recipes, for texts. */
export const SHIPPED_RECIPES = 'arrows, largest, sums, sorting';

/** The package's root: the nearest folder above this file that has a package.json. */
export function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) {
    const parent = dirname(dir);
    if (parent === dir) return dir;
    dir = parent;
  }
  return dir;
}

/** Of this build, as `murmur --version` tells it. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version;
}

export function starterModelDir(): string {
  return join(packageRoot(), 'recipes', 'starter');
}

/** A recipe by the name of its shipped folder (`arrows`). */
export function shippedRecipeFile(name: string): string {
  return join(packageRoot(), 'recipes', name, 'recipe.yaml');
}
