// The part of a recipe that shardcast reads. A ResolvedRecipe has all of it.

import type { RecipeModel, RecipeStaleness } from '../recipes/sections.ts';

export interface ChainRecipe {
  readonly recipeId: Uint8Array;
  readonly recipeIdHex: string;
  readonly recipe: {
    readonly model: RecipeModel;
    /** hex Ed25519 key that may say which chain goes on */
    readonly author: string;
    /** hex Ed25519 keys that may publish weights */
    readonly trainers: readonly string[];
    readonly staleness: Pick<RecipeStaleness, 'keepPolicies'>;
  };
}
