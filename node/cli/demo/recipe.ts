// The demo's recipe: the shipped arrows recipe with the keys of the demo's own trainer and verifier.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toHex } from '../../protocol/bytes.ts';
import { readIdentity } from '../identity.ts';
import { completeToBytes, readRecipeSource } from '../recipe-source.ts';
import { startModel } from '../start-model.ts';

export interface DemoRecipeInit {
  readonly file: string;
  /** `--model` */
  readonly model: string | undefined;
  readonly trainerDir: string;
  readonly verifierDir: string;
}

/** Makes the keys of trainer and verifier and writes the completed recipe. @returns the model's folder */
export async function writeDemoRecipe(init: DemoRecipeInit): Promise<string> {
  const trainer = toHex((await readIdentity(init.trainerDir)).publicKey);
  const verifier = toHex((await readIdentity(init.verifierDir)).publicKey);
  const source = await readRecipeSource('arrows');
  const { folder, model } = await startModel(init.model, source);
  const bytes = completeToBytes(source, {
    author: trainer,
    trainers: [trainer],
    verifiers: [verifier],
    model,
  });
  await mkdir(dirname(init.file), { recursive: true });
  await writeFile(init.file, bytes);
  return folder;
}
