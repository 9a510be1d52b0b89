// Where the files that come with Murmuration lie: the starter model and the shipped recipes.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

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

export function starterModelDir(): string {
  return join(packageRoot(), 'recipes', 'starter');
}

/** A recipe by the name of its shipped folder (`arrows`). */
export function shippedRecipeFile(name: string): string {
  return join(packageRoot(), 'recipes', name, 'recipe.yaml');
}
