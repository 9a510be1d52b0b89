// A policy as a folder that Hugging Face transformers and our own loader read: config.json, model.safetensors in bf16,
// the tokenizer's files, generation_config.json and chat template as they were.

import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { safetensorsPieces } from '../safetensors.ts';
import { WEIGHTS_FILE } from '../weight-files.ts';
import { parameterCount } from '../weights.ts';
import type { ExportProgress } from './onnx.ts';
import type { ExportSource } from './source.ts';

/** transformers asks every safetensors file for this. */
const METADATA = { format: 'pt' };

/** config.json as found, but that the weights are bf16. */
function configFor(configJson: string): string {
  const json = JSON.parse(configJson) as Record<string, unknown>;
  const field = json['dtype'] === undefined ? 'torch_dtype' : 'dtype';
  if (json[field] === 'bfloat16') return configJson;
  return `${JSON.stringify({ ...json, [field]: 'bfloat16' }, null, 2)}\n`;
}

async function writeWeights(path: string, source: ExportSource, onProgress: ExportProgress): Promise<void> {
  const total = 2 * parameterCount(source.weights);
  const handle = await open(path, 'w');
  try {
    let done = 0;
    for (const piece of safetensorsPieces(source.weights, 'BF16', METADATA)) {
      await handle.writeFile(piece);
      done += piece.length;
      onProgress(Math.min(done, total), total);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes the files into a folder that exists. */
export async function writeHfFiles(
  dir: string,
  source: ExportSource,
  onProgress: ExportProgress = () => {},
): Promise<void> {
  await writeWeights(join(dir, WEIGHTS_FILE), source, onProgress);
  await writeFile(join(dir, 'config.json'), configFor(source.configJson), { flush: true });
  for (const [name, bytes] of source.files) await writeFile(join(dir, name), bytes, { flush: true });
}
