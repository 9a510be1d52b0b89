// A model folder as users have it: config.json beside model.safetensors, or shards named by an index file.
// What leaves `loadModelFolder` is whole: exactly the tensors that the config requires, in shape, every value finite.

import { createHash } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeFlushed } from '../protocol/disk.ts';
import { toBf16Bits } from './bf16.ts';
import { configHash, type ModelConfig, parseModelConfig } from './config.ts';
import { createPolicyRootHash } from './policy-root.ts';
import { writeSafetensors } from './safetensors.ts';
import { parseJson, readSmall } from './small-files.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';
import { readFolderWeights, readWeightsFile, visitFolderWeights, WEIGHTS_FILE } from './weight-files.ts';
import type { Weights } from './weights.ts';

/** A model read into memory. */
export interface ModelFolder {
  readonly config: ModelConfig;
  /** text of config.json as found */
  readonly configJson: string;
  readonly weights: Weights;
}

/** What a recipe names a model by (spec/wire.md); 32 bytes each. */
export interface ModelFingerprint {
  readonly policyRoot: Uint8Array;
  readonly configHash: Uint8Array;
  readonly tokenizerHash: Uint8Array;
}

async function readConfig(dir: string): Promise<{ readonly config: ModelConfig; readonly configJson: string }> {
  const path = join(dir, 'config.json');
  const configJson = (await readSmall(path)).toString('utf8');
  return { config: parseModelConfig(parseJson(configJson, path)), configJson };
}

/**
 * A folder's config alone, no weights.
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL
 */
export async function loadModelConfig(dir: string): Promise<ModelConfig> {
  return (await readConfig(dir)).config;
}

/**
 * Reads a model folder (f32, f16 or bf16; one file or shards). The most memory that it takes is the weights' size as
 * float32 (1.17 × it, the process included, for 135 M parameters: measured).
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL, MODEL_TENSOR_MISMATCH, NON_FINITE_WEIGHT
 */
export async function loadModelFolder(dir: string): Promise<ModelFolder> {
  const { config, configJson } = await readConfig(dir);
  return { config, configJson, weights: await readFolderWeights(config, dir) };
}

/**
 * Reads one weights file against a config's text.
 * @throws {SwarmError} as `loadModelFolder`
 */
export async function loadWeightsFile(configJson: string, weightsFile: string): Promise<ModelFolder> {
  const config = parseModelConfig(parseJson(configJson, 'config.json'));
  return { config, configJson, weights: await readWeightsFile(config, weightsFile) };
}

/** Writes under a temporary name, flushes, renames: a reader sees the old file or the new one, whole. */
export async function writeFileWhole(path: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFlushed(temporary, [bytes]);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
}

/** Writes config.json and model.safetensors; equal models give equal bytes. */
export async function saveModelFolder(
  dir: string,
  model: { readonly configJson: string; readonly weights: Weights },
  dtype: 'F32' | 'BF16' = 'BF16',
): Promise<void> {
  await writeFileWhole(join(dir, WEIGHTS_FILE), writeSafetensors(model.weights, dtype));
  await writeFileWhole(join(dir, 'config.json'), model.configJson);
}

/** SHA-256(tokenizer.json ‖ tokenizer_config.json), over the bytes that `readTokenizerFiles` gives (spec/wire.md). */
export function tokenizerHash(tokenizerJson: Uint8Array, tokenizerConfigJson: Uint8Array): Uint8Array {
  return createHash('sha256').update(tokenizerJson).update(tokenizerConfigJson).digest();
}

/**
 * What a recipe names the model of a folder by. Holds one tensor at a time.
 * @throws {SwarmError} as `loadModelFolder`; MODEL_FILE_MISSING also for a missing tokenizer
 */
export async function modelFingerprint(dir: string): Promise<ModelFingerprint> {
  const { config, configJson } = await readConfig(dir);
  const root = createPolicyRootHash();
  await visitFolderWeights(config, dir, (name, { shape, data }) => root.add(name, shape, toBf16Bits(data)));
  const files = await readTokenizerFiles(dir);
  return {
    policyRoot: root.digest(),
    configHash: configHash(JSON.parse(configJson)),
    tokenizerHash: tokenizerHash(files.tokenizer, files.tokenizerConfig),
  };
}
