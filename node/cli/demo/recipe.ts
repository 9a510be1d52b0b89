// The demo's recipe: what it asks is the recipe's that was named, who may train and judge it are the demo's own processes.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isJsonObject } from '../../../recipes/json.ts';
import { checkFits } from '../../../recipes/prompt.ts';
import { resolveRecipe } from '../../../recipes/resolve.ts';
import { parseRecipe, type Recipe, type RecipeSource } from '../../../recipes/schema.ts';
import { requiredTensors } from '../../model/config.ts';
import { loadModelConfig } from '../../model/folder.ts';
import { loadTokenizer } from '../../model/tokenizer.ts';
import { elementCount } from '../../model/weights.ts';
import { toHex } from '../../protocol/bytes.ts';
import { readIdentity } from '../identity.ts';
import { completeToBytes, readRecipeSource } from '../recipe-source.ts';
import { startModel } from '../start-model.ts';

/** The recipe that the demo was made for. */
export const ARROWS = 'arrows';

export interface DemoRecipeInit {
  /** `--recipe`: a file or the name of a shipped one */
  readonly recipe: string;
  /** where the completed recipe is written */
  readonly file: string;
  /** `--model` */
  readonly model: string | undefined;
  readonly trainerDir: string;
  readonly verifierDir: string;
}

export interface DemoRecipe {
  readonly recipe: Recipe;
  /** the model's folder */
  readonly folder: string;
  readonly parameters: number;
}

/** Without the keys of whichever swarm it came from, and what it asks of their verdicts: this one has its own, and one verifier. */
function withoutKeys({ author: _author, trainers: _trainers, ...source }: RecipeSource): RecipeSource {
  const { verification } = source;
  if (!isJsonObject(verification)) return source;
  const { verifiers: _verifiers, acceptance: _acceptance, ...limits } = verification;
  return { ...source, verification: limits };
}

/**
 * Makes the keys of trainer and verifier and writes the completed recipe.
 * @throws {SwarmError} RECIPE_NOT_FOUND, RECIPE_INVALID, TEXT_NOT_ENCODABLE and others when recipe and model do not fit
 */
export async function writeDemoRecipe(init: DemoRecipeInit): Promise<DemoRecipe> {
  const source = withoutKeys(await readRecipeSource(init.recipe));
  const { folder, model } = await startModel(init.model, source);
  const trainer = toHex((await readIdentity(init.trainerDir)).publicKey);
  const verifier = toHex((await readIdentity(init.verifierDir)).publicKey);
  const bytes = completeToBytes(source, { author: trainer, trainers: [trainer], verifiers: [verifier], model });
  const recipe = parseRecipe(bytes);
  const config = await loadModelConfig(folder);
  // Here, where the user looks, and not in a process that ends with it.
  checkFits(resolveRecipe(recipe), await loadTokenizer(folder, config.vocabSize));
  await mkdir(dirname(init.file), { recursive: true });
  await writeFile(init.file, bytes);
  const parameters = requiredTensors(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return { recipe, folder, parameters };
}
