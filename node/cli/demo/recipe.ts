// The demo's recipe: the shipped arrows recipe with the keys of the demo's own trainer and verifier.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toHex } from '../../protocol/bytes.ts';
import { readIdentity } from '../identity.ts';
import { completeToBytes, readRecipeSource, recipeModelOf } from '../recipe-source.ts';

export interface DemoRecipeInit {
  readonly file: string;
  readonly model: string;
  readonly trainerDir: string;
  readonly verifierDir: string;
}

/** Makes the keys of trainer and verifier and writes the completed recipe. */
export async function writeDemoRecipe(init: DemoRecipeInit): Promise<void> {
  const trainer = toHex((await readIdentity(init.trainerDir)).publicKey);
  const verifier = toHex((await readIdentity(init.verifierDir)).publicKey);
  const bytes = completeToBytes(await readRecipeSource('arrows'), {
    author: trainer,
    trainers: [trainer],
    verifiers: [verifier],
    model: await recipeModelOf(init.model),
  });
  await mkdir(dirname(init.file), { recursive: true });
  await writeFile(init.file, bytes);
}
