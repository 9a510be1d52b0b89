// The model that a command starts from, held against the recipe that it is for: `--model` if given, else the one of the
// hub that the recipe names (if it is on this machine), else the starter.

import type { RecipeSource } from '../../recipes/schema.ts';
import type { RecipeModel } from '../../recipes/sections.ts';
import { modelFingerprint } from '../model/folder.ts';
import { toHex } from '../protocol/bytes.ts';
import { SwarmError } from '../protocol/errors.ts';
import { type FoundModel, findModel, findNamedModel } from './model-folder.ts';
import { starterModelDir } from './shipped.ts';

/** A model folder and what a recipe says of it. */
export interface StartModel {
  readonly folder: string;
  readonly model: RecipeModel;
}

const HASHES = ['initialPolicyRoot', 'configHash', 'tokenizerHash'] as const;

/** What a recipe says of its model by itself. */
function namedModel(recipe: RecipeSource | null): Partial<RecipeModel> {
  const model = recipe?.['model'];
  return typeof model === 'object' && model !== null && !Array.isArray(model) ? (model as Partial<RecipeModel>) : {};
}

/** What a recipe says of a model. @throws {SwarmError} MODEL_FILE_MISSING and others of the folder */
export async function recipeModelOf({ folder, hubId }: FoundModel): Promise<RecipeModel> {
  const { policyRoot, configHash, tokenizerHash } = await modelFingerprint(folder);
  return {
    ...{ initialPolicyRoot: toHex(policyRoot), configHash: toHex(configHash), tokenizerHash: toHex(tokenizerHash) },
    ...(hubId === null ? {} : { hubId }),
  };
}

/**
 * @param asked `--model`
 * @param recipe as its author wrote it; null where there is none
 * @throws {SwarmError} ROOT_MISMATCH when the recipe starts from another model; as `findModel`, `findNamedModel`
 */
export async function startModel(asked: string | undefined, recipe: RecipeSource | null): Promise<StartModel> {
  const named = namedModel(recipe);
  const found =
    asked !== undefined
      ? await findModel(asked)
      : typeof named.hubId === 'string'
        ? await findNamedModel(named.hubId)
        : { folder: starterModelDir(), hubId: null };
  const model = await recipeModelOf(found);
  for (const hash of HASHES) {
    if (named[hash] === undefined || named[hash] === model[hash]) continue;
    throw new SwarmError(
      'ROOT_MISMATCH',
      `the recipe starts from another model than ${found.folder} (${hash} ${String(named[hash]).slice(0, 12)}, there ${model[hash].slice(0, 12)}): name the right one with --model, or take the field out of the recipe`,
      { hash, folder: found.folder },
    );
  }
  return { folder: found.folder, model };
}

/**
 * What a recipe says of its model, for a command that needs no weights: where it says all of it, no folder is needed.
 * @throws {SwarmError} as `startModel`
 */
export async function startModelNames(asked: string | undefined, recipe: RecipeSource): Promise<RecipeModel> {
  const named = namedModel(recipe);
  const isWhole = HASHES.every((hash) => typeof named[hash] === 'string');
  return asked === undefined && isWhole ? (named as RecipeModel) : (await startModel(asked, recipe)).model;
}
