// A model folder as users have it: config.json beside model.safetensors, or shards named by an index file.
// What leaves `loadModelFolder` is whole: exactly the tensors that the config requires, in shape, every value finite.

import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SwarmError } from '../protocol/errors.ts';
import { roundToBf16 } from './bf16.ts';
import { configHash, type ModelConfig, parseModelConfig, requiredTensors } from './config.ts';
import { policyRoot } from './policy-root.ts';
import { readSafetensors, writeSafetensors } from './safetensors.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';
import type { Weights, WeightTensor } from './weights.ts';

const WEIGHTS_FILE = 'model.safetensors';
const INDEX_FILE = 'model.safetensors.index.json';
const MAX_JSON_BYTES = 64 << 20;
const MAX_SHARDS = 4096;

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

async function readSmall(path: string): Promise<Buffer> {
  const missing = (cause: unknown) =>
    new SwarmError('MODEL_FILE_MISSING', `Cannot read ${path}. Check the model folder.`, { path }, { cause });
  const { size } = await stat(path).catch((cause: unknown) => {
    throw missing(cause);
  });
  if (size > MAX_JSON_BYTES) {
    throw new SwarmError('MODEL_FILE_CORRUPT', `${path} has ${size} bytes, over ${MAX_JSON_BYTES}.`, { path });
  }
  return readFile(path).catch((cause: unknown) => {
    throw missing(cause);
  });
}

/** Parses a JSON text. @throws {SwarmError} MODEL_FILE_CORRUPT */
export function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SwarmError('MODEL_FILE_CORRUPT', `${path} is not JSON. Fetch it again.`, { path }, { cause });
  }
}

async function shardFiles(dir: string): Promise<string[]> {
  const path = join(dir, INDEX_FILE);
  const index = parseJson((await readSmall(path)).toString('utf8'), path) as { weight_map?: unknown } | null;
  const map = index?.weight_map;
  const files = typeof map === 'object' && map !== null ? [...new Set(Object.values(map))] : [];
  const plain = (file: unknown): file is string => typeof file === 'string' && file !== '' && basename(file) === file;
  if (files.length === 0 || files.length > MAX_SHARDS || !files.every(plain)) {
    throw new SwarmError('MODEL_FILE_CORRUPT', `${path} names no shards in its own folder. Fetch it again.`, { path });
  }
  return files.sort();
}

async function readAllTensors(dir: string): Promise<Map<string, WeightTensor>> {
  const single = await stat(join(dir, WEIGHTS_FILE)).catch(() => null);
  const sharded = single === null && (await stat(join(dir, INDEX_FILE)).catch(() => null)) !== null;
  if (!sharded) return new Map(await readSafetensors(join(dir, WEIGHTS_FILE)));
  const all = new Map<string, WeightTensor>();
  for (const file of await shardFiles(dir)) {
    for (const [name, tensor] of await readSafetensors(join(dir, file))) all.set(name, tensor);
  }
  return all;
}

function mismatch(message: string, tensor: string): SwarmError {
  return new SwarmError('MODEL_TENSOR_MISMATCH', `${message}. Check that weights and config.json belong together.`, {
    tensor,
  });
}

function checkFinite(name: string, data: Float32Array): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i]!)) {
      throw new SwarmError('NON_FINITE_WEIGHT', `Tensor ${name} holds ${data[i]} at ${i}. Use other weights.`, {
        tensor: name,
        index: i,
      });
    }
  }
}

/** Tensors of a file that no graph needs: rotary tables of older exports, and the second name of a tied head. */
function isRedundant(name: string, config: ModelConfig): boolean {
  return name.endsWith('.rotary_emb.inv_freq') || (config.tiedHead && name === 'lm_head.weight');
}

/**
 * Exactly the tensors that the config requires, out of what a file held, in the order of `requiredTensors`.
 * @throws {SwarmError} MODEL_TENSOR_MISMATCH (missing, extra, wrong shape), NON_FINITE_WEIGHT
 */
export function selectWeights(config: ModelConfig, found: Weights): Weights {
  const selected = new Map<string, WeightTensor>();
  for (const { name, shape } of requiredTensors(config)) {
    const tensor = found.get(name);
    if (tensor === undefined) throw mismatch(`Tensor ${name} is missing`, name);
    if (tensor.shape.length !== shape.length || tensor.shape.some((dimension, axis) => dimension !== shape[axis])) {
      throw mismatch(`Tensor ${name} has shape [${tensor.shape}], the config requires [${shape}]`, name);
    }
    checkFinite(name, tensor.data);
    selected.set(name, tensor);
  }
  for (const name of found.keys()) {
    if (!selected.has(name) && !isRedundant(name, config)) {
      throw mismatch(`Tensor ${name.slice(0, 100)} is not one of this config's`, name.slice(0, 100));
    }
  }
  return selected;
}

/**
 * Reads a model folder (f32, f16 or bf16; one file or shards).
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL, MODEL_TENSOR_MISMATCH, NON_FINITE_WEIGHT
 */
export async function loadModelFolder(dir: string): Promise<ModelFolder> {
  const path = join(dir, 'config.json');
  const configJson = (await readSmall(path)).toString('utf8');
  const config = parseModelConfig(parseJson(configJson, path));
  return { config, configJson, weights: selectWeights(config, await readAllTensors(dir)) };
}

/**
 * Reads one weights file against a config's text.
 * @throws {SwarmError} as `loadModelFolder`
 */
export async function loadWeightsFile(configJson: string, weightsFile: string): Promise<ModelFolder> {
  const config = parseModelConfig(parseJson(configJson, 'config.json'));
  return { config, configJson, weights: selectWeights(config, await readSafetensors(weightsFile)) };
}

/** Writes under a temporary name, flushes, renames: a reader sees the old file or the new one, whole. */
export async function writeFileWhole(path: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const handle = await open(temporary, 'w');
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
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
 * What a recipe names the model of a folder by.
 * @throws {SwarmError} as `loadModelFolder`; MODEL_FILE_MISSING also for a missing tokenizer
 */
export async function modelFingerprint(dir: string): Promise<ModelFingerprint> {
  const { configJson, weights } = await loadModelFolder(dir);
  const files = await readTokenizerFiles(dir);
  return {
    policyRoot: policyRoot(roundToBf16(weights)),
    configHash: configHash(JSON.parse(configJson)),
    tokenizerHash: tokenizerHash(files.tokenizer, files.tokenizerConfig),
  };
}
