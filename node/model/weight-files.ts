// The weights of a model folder, read as a config requires them: one file, or shards named by an index file.
// Every header is checked against the config before any value is read: what is missing, extra or of another shape costs
// no memory. Tensors are then read one by one, each into the array that it ends in.
// What leaves is whole: exactly the tensors of `requiredTensors`, in that order, in shape, every value finite.

import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SwarmError } from '../protocol/errors.ts';
import { type ModelConfig, requiredTensors, type TensorSpec } from './config.ts';
import { openSafetensors, type SafetensorsFile, type TensorEntry } from './safetensors.ts';
import { parseJson, readSmall } from './small-files.ts';
import { namesInByteOrder, type Weights, type WeightTensor } from './weights.ts';

export const WEIGHTS_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';
const MAX_SHARDS = 4096;

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';

/** Where a tensor lies. */
interface Place {
  readonly file: SafetensorsFile;
  readonly entry: TensorEntry;
}

type Places = ReadonlyMap<string, Place>;

function corrupt(path: string, reason: string): SwarmError {
  return new SwarmError('MODEL_FILE_CORRUPT', `${path} ${reason}. Fetch it again.`, { path });
}

function mismatch(message: string, tensor: string): SwarmError {
  return new SwarmError('MODEL_TENSOR_MISMATCH', `${message}. Check that weights and config.json belong together.`, {
    tensor: tensor.slice(0, 100),
  });
}

/** Tensor to shard, as an index file says. */
async function readIndex(path: string): Promise<ReadonlyMap<string, string>> {
  const index = parseJson((await readSmall(path)).toString('utf8'), path) as { weight_map?: unknown } | null;
  const map = index?.weight_map;
  const entries = typeof map === 'object' && map !== null ? Object.entries(map) : [];
  // a shard lies beside its index: a name with a path in it would reach other files
  const isPlain = (file: unknown): boolean => typeof file === 'string' && file !== '' && basename(file) === file;
  if (entries.length === 0 || !entries.every(([, file]) => isPlain(file))) {
    throw corrupt(path, 'names no shards in its own folder');
  }
  return new Map(entries as [string, string][]);
}

/** Runs `use` with all files open. */
async function withFiles(
  paths: readonly string[],
  use: (files: readonly SafetensorsFile[]) => Promise<void>,
): Promise<void> {
  const files: SafetensorsFile[] = [];
  try {
    for (const path of paths) files.push(await openSafetensors(path));
    await use(files);
  } finally {
    for (const file of files) await file.close();
  }
}

/** @throws {SwarmError} MODEL_FILE_CORRUPT: a tensor occurs twice */
function placesOf(files: readonly SafetensorsFile[]): Places {
  const places = new Map<string, Place>();
  for (const file of files) {
    for (const entry of file.entries) {
      const other = places.get(entry.name);
      if (other)
        throw corrupt(file.path, `holds tensor ${entry.name.slice(0, 100)}, which ${other.file.path} holds too`);
      places.set(entry.name, { file, entry });
    }
  }
  return places;
}

function checkIndex(indexPath: string, index: ReadonlyMap<string, string>, places: Places): void {
  for (const [name, shard] of index) {
    const place = places.get(name);
    if (place && basename(place.file.path) === shard) continue;
    throw corrupt(indexPath, `places tensor ${name.slice(0, 100)} in ${shard.slice(0, 100)}, which lacks it`);
  }
}

/** Tensors of a file that no graph needs: rotary tables of older exports, and the second name of a tied head. */
function isRedundant(name: string, config: ModelConfig): boolean {
  return name.endsWith('.rotary_emb.inv_freq') || (config.tiedHead && (name === HEAD || name === EMBEDDING));
}

/** Where a required tensor lies; a tied head's matrix may have been stored under its other name alone. */
function find(places: Places, { name, shape }: TensorSpec, config: ModelConfig): Place {
  const place = places.get(name) ?? (config.tiedHead && name === EMBEDDING ? places.get(HEAD) : undefined);
  if (!place) {
    const isHead = name === HEAD && !config.tiedHead;
    throw mismatch(`Tensor ${name} is missing${isHead ? ', and tie_word_embeddings is false' : ''}`, name);
  }
  const { shape: found } = place.entry;
  if (found.length !== shape.length || found.some((dimension, axis) => dimension !== shape[axis])) {
    throw mismatch(`Tensor ${name} has shape [${found}], the config requires [${shape}]`, name);
  }
  return place;
}

const CHUNK_BYTES = 1 << 20;

async function isStoredAlike(a: Place, b: Place): Promise<boolean> {
  const { byteLength, dtype } = a.entry;
  if (b.entry.dtype !== dtype || b.entry.byteLength !== byteLength) return false;
  const [one, other] = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)];
  for (let at = 0; at < byteLength; at += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, byteLength - at);
    await a.file.bytes(a.entry, at, one.subarray(0, length));
    await b.file.bytes(b.entry, at, other.subarray(0, length));
    if (one.compare(other, 0, length, 0, length) !== 0) return false;
  }
  return true;
}

/** A tied model whose file has another head beside the embedding was not meant to be tied: computing either is a guess. */
async function checkTiedHead(places: Places): Promise<void> {
  const [embedding, head] = [places.get(EMBEDDING), places.get(HEAD)];
  if (!embedding || !head || (await isStoredAlike(embedding, head))) return;
  throw mismatch(`config.json ties the head to the embedding, but ${HEAD} holds other values`, HEAD);
}

function checkFinite(name: string, { data }: WeightTensor): void {
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i]!)) {
      throw new SwarmError('NON_FINITE_WEIGHT', `Tensor ${name} holds ${data[i]} at ${i}. Use other weights.`, {
        tensor: name,
        index: i,
      });
    }
  }
}

type Visit = (name: string, tensor: WeightTensor) => void;

/** Reads the tensors that the config requires, in its order or that of their names' bytes, one at a time. */
async function visitRequired(config: ModelConfig, places: Places, visit: Visit, isSorted = false): Promise<void> {
  const wanted = new Map(requiredTensors(config).map((spec) => [spec.name, find(places, spec, config)]));
  for (const name of places.keys()) {
    if (!wanted.has(name) && !isRedundant(name, config)) {
      throw mismatch(`Tensor ${name.slice(0, 100)} is not one of this config's`, name);
    }
  }
  if (config.tiedHead) await checkTiedHead(places);
  for (const name of isSorted ? namesInByteOrder(wanted.keys()) : wanted.keys()) {
    const { file, entry } = wanted.get(name)!;
    const tensor = await file.tensor(entry);
    checkFinite(name, tensor);
    visit(name, tensor);
  }
}

/** The file that stands for a folder's weights: `model.safetensors`, or the index of shards where only that is there. */
export async function weightsFileOf(dir: string): Promise<string> {
  const isThere = async (file: string): Promise<boolean> => (await stat(join(dir, file)).catch(() => null)) !== null;
  return join(dir, (await isThere(WEIGHTS_FILE)) || !(await isThere(INDEX_FILE)) ? WEIGHTS_FILE : INDEX_FILE);
}

/** Opens a weights file, or the shards of an index, which must be where it says. */
async function withWeightsFile(path: string, use: (places: Places) => Promise<void>): Promise<void> {
  if (basename(path) !== INDEX_FILE) return withFiles([path], (files) => use(placesOf(files)));
  const [dir, indexPath] = [dirname(path), path];
  const index = await readIndex(indexPath);
  const shards = [...new Set(index.values())].sort();
  if (shards.length > MAX_SHARDS) throw corrupt(indexPath, `names ${shards.length} shards, over ${MAX_SHARDS}`);
  const paths = shards.map((file) => join(dir, file));
  return withFiles(paths, (files) => {
    const places = placesOf(files);
    checkIndex(indexPath, index, places);
    return use(places);
  });
}

/**
 * Reads one weights file, or the shards of an index.
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL (a dtype), MODEL_TENSOR_MISMATCH
 *   (missing, extra, of another shape, another head in a tied model), NON_FINITE_WEIGHT
 */
export async function readWeightsFile(config: ModelConfig, path: string): Promise<Weights> {
  const weights = new Map<string, WeightTensor>();
  await withWeightsFile(path, (places) => visitRequired(config, places, (name, tensor) => weights.set(name, tensor)));
  return weights;
}

/**
 * Reads a folder's weights.
 * @throws {SwarmError} as `readWeightsFile`; MODEL_FILE_CORRUPT also for an index that the shards do not bear out
 */
export async function readFolderWeights(config: ModelConfig, dir: string): Promise<Weights> {
  return readWeightsFile(config, await weightsFileOf(dir));
}

/**
 * Shows a folder's tensors one after the other in byte order of their names, and holds no more than one.
 * @throws {SwarmError} as `readFolderWeights`
 */
export async function visitFolderWeights(config: ModelConfig, dir: string, visit: Visit): Promise<void> {
  await withWeightsFile(await weightsFileOf(dir), (places) => visitRequired(config, places, visit, true));
}
