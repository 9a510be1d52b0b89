// What an export is made of, read from a model folder: the policy's very values, and the text files beside them.
// A policy is its bf16 weights, so f32 weights are rounded here, as publishing them would.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { roundToBf16InPlace } from '../bf16.ts';
import type { ModelConfig } from '../config.ts';
import { loadModelFolder } from '../folder.ts';
import { missingModelFile } from '../small-files.ts';
import type { Weights } from '../weights.ts';

/** Files without which nothing runs. */
const REQUIRED = ['tokenizer.json', 'tokenizer_config.json'] as const;
/** Files that are kept where they are. */
const KEPT = ['generation_config.json', 'chat_template.jinja', 'special_tokens_map.json', 'added_tokens.json'] as const;

export interface ExportSource {
  readonly config: ModelConfig;
  /** text of config.json as found */
  readonly configJson: string;
  /** float32 arrays of bf16 values */
  readonly weights: Weights;
  /** name to bytes of every other file of the folder that an export keeps */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

async function readNamed(dir: string, name: string, isOptional: boolean): Promise<Uint8Array | null> {
  const path = join(dir, name);
  return readFile(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' && isOptional) return null;
    throw missingModelFile(path, cause);
  });
}

/** The optional files of a model folder. @throws {SwarmError} MODEL_FILE_MISSING for one that cannot be read */
export async function readKeptFiles(dir: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of KEPT) {
    const bytes = await readNamed(dir, name, true);
    if (bytes !== null) files.set(name, bytes);
  }
  return files;
}

/**
 * Reads a model folder for export.
 * @throws {SwarmError} as `loadModelFolder`; MODEL_FILE_MISSING also for a missing tokenizer
 */
export async function readExportSource(dir: string): Promise<ExportSource> {
  const { config, configJson, weights } = await loadModelFolder(dir);
  roundToBf16InPlace(weights);
  const files = await readKeptFiles(dir);
  for (const name of REQUIRED) files.set(name, (await readNamed(dir, name, false))!);
  return { config, configJson, weights, files };
}
