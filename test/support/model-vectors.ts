// The model cases of the vector folder, and what each expects.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModelFolder, type ModelFolder } from '../../node/model/folder.ts';
import { readSafetensors } from '../../node/model/safetensors.ts';
import type { Weights, WeightTensor } from '../../node/model/weights.ts';
import { vectorsDir } from './vectors-dir.ts';

export interface ModelCase {
  readonly name: string;
  readonly dir: string;
}

export function modelCases(): ModelCase[] {
  const root = join(vectorsDir(), 'models');
  return readdirSync(root)
    .sort()
    .map((name) => ({ name, dir: join(root, name) }));
}

export interface LoadedCase extends ModelFolder {
  readonly inputIds: readonly (readonly number[])[];
  readonly greedyTokens: readonly number[];
  readonly expected: Weights;
  /** @throws when the file lacks it */
  tensor(name: string): WeightTensor;
}

export async function loadCase({ dir }: ModelCase): Promise<LoadedCase> {
  const json = JSON.parse(readFileSync(join(dir, 'expected.json'), 'utf8'));
  const expected = await readSafetensors(join(dir, 'expected.safetensors'));
  const tensor = (name: string): WeightTensor => {
    const found = expected.get(name);
    if (!found) throw new Error(`${dir}/expected.safetensors has no ${name}`);
    return found;
  };
  return {
    ...(await loadModelFolder(dir)),
    inputIds: json.input_ids,
    greedyTokens: json.greedy_tokens,
    expected,
    tensor,
  };
}
