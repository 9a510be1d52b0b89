// A policy of a data directory, whether a node runs there or one has stopped: asked of the node, or read from its records.
// Weights and recipe are read as files: both are named by their hash.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type ResolvedRecipe, resolveRecipe } from '../../recipes/resolve.ts';
import { parseRecipe } from '../../recipes/schema.ts';
import { SwarmError } from '../protocol/errors.ts';
import { blobFile, dataDirLayout, policyFolder } from '../store/data-dir.ts';
import { type Ask, nodeDataDir, withRecords } from './ask-node.ts';

/** A policy whose weights are on this machine. */
export interface KeptPolicy {
  readonly policyStep: number;
  readonly policyRoot: string;
  /** a model folder */
  readonly folder: string;
  readonly recipe: ResolvedRecipe;
}

/** Which policy: all that is left out means the newest. */
export interface PolicyChoice {
  /** id, its beginning, or name */
  readonly recipe?: string | undefined;
  readonly policyStep?: number | undefined;
  /** beginning of the policy root, hex */
  readonly rootPrefix?: string | undefined;
}

interface RecipeRow {
  readonly recipeId: string;
  readonly name: string;
}

interface WeightsRow {
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly here: boolean;
}

const ALL = 1_000_000;

/**
 * @throws {SwarmError} NOT_FOUND (naming what is kept), RECIPE_NOT_FOUND; USAGE when several policies fit
 */
export async function findKeptPolicy(dataDir: string, choice: PolicyChoice): Promise<KeptPolicy> {
  const dir = nodeDataDir(dataDir);
  if (!existsSync(dataDirLayout(dir).db)) {
    throw new SwarmError('NOT_FOUND', `no node ever ran on ${dir}; name another --data-dir`, { dataDir: dir });
  }
  const kept = await withRecords(dir, (ask) => policiesOf(ask, dir, choice.recipe));
  const { policyStep, rootPrefix } = choice;
  const fitting = kept.filter(
    (row) =>
      (policyStep === undefined || row.policyStep === policyStep) &&
      (rootPrefix === undefined || row.policyRoot.startsWith(rootPrefix)),
  );
  const chosen = fitting[0];
  if (chosen === undefined) {
    const here = kept.map((row) => `${row.policyStep} (${row.policyRoot.slice(0, 12)})`).join(', ') || 'none';
    throw new SwarmError('NOT_FOUND', `that policy is not kept in ${dir}; policy steps that are: ${here}`, {
      dataDir: dir,
    });
  }
  const isNamed = policyStep !== undefined || rootPrefix !== undefined;
  if (isNamed && fitting.some((row) => row.policyRoot !== chosen.policyRoot)) {
    const fit = fitting.map((row) => `step ${row.policyStep} of ${row.name} (${row.policyRoot.slice(0, 12)})`);
    throw new SwarmError('USAGE', `several policies fit: ${fit.join(', ')}; write more of the root, or add --recipe`);
  }
  const { recipeId, policyRoot } = chosen;
  return {
    policyStep: chosen.policyStep,
    policyRoot,
    folder: policyFolder(dataDirLayout(dir), recipeId, policyRoot),
    recipe: await recipeOf(dir, recipeId),
  };
}

/** Newest recipe first, and in it the newest policy first; only those whose weights are here. */
async function policiesOf(
  ask: Ask,
  dataDir: string,
  wanted: string | undefined,
): Promise<readonly (RecipeRow & WeightsRow)[]> {
  const { recipes } = (await ask('recipes')) as { readonly recipes: readonly RecipeRow[] };
  const known = recipes.filter(
    (row) => wanted === undefined || row.name === wanted || (wanted.length >= 4 && row.recipeId.startsWith(wanted)),
  );
  if (known.length === 0) {
    const message =
      wanted === undefined
        ? `no recipe is known in ${dataDir} yet, so no policy is kept there; name another --data-dir, or a model`
        : `no recipe ${wanted} is known in ${dataDir}; murmur recipes lists them`;
    throw new SwarmError('RECIPE_NOT_FOUND', message, { dataDir });
  }
  const kept: (RecipeRow & WeightsRow)[] = [];
  for (const { recipeId, name } of known.toReversed()) {
    const rows = (await ask('weights', { recipe: recipeId, limit: ALL })) as readonly WeightsRow[];
    const here = rows.filter((row) => row.here).sort((a, b) => b.policyStep - a.policyStep);
    kept.push(...here.map((row) => ({ ...row, recipeId, name })));
  }
  return kept;
}

/** A recipe by its id: the blob of that hash. @throws {SwarmError} BLOB_MISSING, BLOB_CORRUPT */
export async function recipeOf(dataDir: string, recipeId: string): Promise<ResolvedRecipe> {
  const path = blobFile(dataDirLayout(dataDir), recipeId);
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new SwarmError('BLOB_MISSING', `the recipe ${recipeId} is not in ${dataDir}`, { recipeId }, { cause });
  });
  const recipe = resolveRecipe(parseRecipe(bytes));
  if (recipe.recipeIdHex === recipeId) return recipe;
  throw new SwarmError('BLOB_CORRUPT', `${path} is not the recipe of that id; delete it`, { recipeId });
}
