// Checkpoints: a folder `step-N` that is whole or not there, holding weights, moments, the step and what it consumed.
// Source: spec/grpo.md §Exactly once. Written as `step-N.tmp`, every file flushed, renamed, the parent flushed.
// Invariants: `newestCheckpoint` gives the newest folder whose bytes are those that were written; a broken one is passed over.
// Tensors go to disk and come back one at a time: no file is ever in memory.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readSafetensors, safetensorsPieces } from '../node/model/safetensors.ts';
import type { Weights } from '../node/model/weights.ts';
import { isDiskFull, type OpenFile, syncFolder, writeFlushed } from '../node/protocol/disk.ts';
import { errorText, SwarmError } from '../node/protocol/errors.ts';

const FORMAT = 'murmuration-checkpoint-1';
const STATE_FILE = 'state.json';
const TENSOR_FILES = ['weights.safetensors', 'first-moments.safetensors', 'second-moments.safetensors'] as const;
/** The newest, and one to fall back to. */
const DEFAULT_KEEP = 2;
const READ_BYTES = 1 << 20;

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

/** What a run has to remember beside tensors. */
export interface CheckpointMeta {
  /** the trainer's step (batches), which names the folder */
  readonly step: number;
  /** hex id of the recipe that is trained, or what a warm-up calls itself */
  readonly recipeId: string;
  /** ids of the groups that this step consumed */
  readonly consumed: readonly string[];
  /** anything else the run wants back: state of random numbers, publications, counts */
  readonly extra: JsonValue;
}

export interface Checkpoint {
  readonly meta: CheckpointMeta;
  /** float32 masters */
  readonly weights: Weights;
  /** optimizer steps taken (AdamW's t; a batch may take several) */
  readonly optimizerStep: number;
  readonly firstMoments: Weights;
  readonly secondMoments: Weights;
}

/** Result of a search for the newest whole checkpoint. */
export interface FoundCheckpoint {
  readonly path: string;
  readonly checkpoint: Checkpoint;
  /** newer folders that were passed over, and why */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

interface StateFile {
  readonly format: string;
  readonly meta: CheckpointMeta;
  readonly optimizerStep: number;
  readonly sha256: Readonly<Record<string, string>>;
}

/** @returns hex SHA-256 of what was written */
async function writeHashed(openFile: OpenFile, path: string, pieces: Iterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  await writeFlushed(path, pieces, { openFile, meanwhile: (piece) => void hash.update(piece) });
  return hash.digest('hex');
}

/** Steps of the folders named `step-N` in `dir`, newest first; [] when there is no such folder. */
export async function checkpointSteps(dir: string): Promise<number[]> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .map((name) => /^step-(\d+)$/.exec(name)?.[1])
    .filter((step) => step !== undefined)
    .map(Number)
    .sort((a, b) => b - a);
}

async function writeInto(openFile: OpenFile, folder: string, checkpoint: Checkpoint): Promise<void> {
  const tensors = [checkpoint.weights, checkpoint.firstMoments, checkpoint.secondMoments];
  const sha256: Record<string, string> = {};
  for (const [index, file] of TENSOR_FILES.entries()) {
    sha256[file] = await writeHashed(openFile, join(folder, file), safetensorsPieces(tensors[index]!, 'F32'));
  }
  const { meta, optimizerStep } = checkpoint;
  const state: StateFile = { format: FORMAT, meta, optimizerStep, sha256 };
  await writeFlushed(join(folder, STATE_FILE), [`${JSON.stringify(state, null, 2)}\n`], { openFile });
  await syncFolder(folder);
}

/**
 * Writes `dir/step-N` so that a crash at any moment leaves it whole or absent, then removes all but the newest.
 * A folder of that name that is there already (found broken, or of an abandoned run) is replaced.
 * @param keep whole checkpoints to leave, this one included
 * @returns path of the folder
 * @throws {SwarmError} DISK_FULL
 */
export async function saveCheckpoint(
  dir: string,
  checkpoint: Checkpoint,
  keep: number = DEFAULT_KEEP,
  openFile: OpenFile = open,
): Promise<string> {
  const path = join(dir, `step-${checkpoint.meta.step}`);
  const temporary = `${path}.tmp`;
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    await writeInto(openFile, temporary, checkpoint);
    await rm(path, { recursive: true, force: true });
    await rename(temporary, path);
    await syncFolder(dir);
  } catch (cause) {
    if (!isDiskFull(cause)) throw cause;
    await rm(temporary, { recursive: true, force: true });
    throw new SwarmError(
      'DISK_FULL',
      `no room left to write ${path}: free some space, the run goes on from the checkpoint before`,
      { path },
      { cause },
    );
  }
  for (const step of (await checkpointSteps(dir)).slice(keep))
    await rm(join(dir, `step-${step}`), { recursive: true, force: true });
  return path;
}

function broken(path: string, reason: string, cause?: unknown): SwarmError {
  return new SwarmError(
    'CHECKPOINT_CORRUPT',
    `${path} is not a whole checkpoint: ${reason}. The one before it is used; delete this folder.`,
    { path },
    { cause },
  );
}

/** What reading a checkpoint's file gives, or what is wrong with it as CHECKPOINT_CORRUPT. */
async function readPart<T>(path: string, file: string, read: (path: string) => Promise<T>): Promise<T> {
  return read(join(path, file)).catch((cause: unknown) => {
    throw broken(path, `${file} cannot be read (${errorText(cause)})`, cause);
  });
}

async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: READ_BYTES })) hash.update(piece);
  return hash.digest('hex');
}

async function readState(path: string): Promise<StateFile> {
  const text = await readPart(path, STATE_FILE, (file) => readFile(file, 'utf8'));
  let state: Partial<StateFile>;
  try {
    state = JSON.parse(text) as Partial<StateFile>;
  } catch (cause) {
    throw broken(path, `${STATE_FILE} is not JSON`, cause);
  }
  const { format, meta, optimizerStep, sha256 } = state;
  if (format !== FORMAT) throw broken(path, `${STATE_FILE} has format ${JSON.stringify(format)}, expected ${FORMAT}`);
  if (!meta || !sha256 || !Number.isInteger(optimizerStep)) throw broken(path, `${STATE_FILE} lacks fields`);
  return { format, meta, optimizerStep: optimizerStep!, sha256 };
}

/**
 * Reads one checkpoint folder and checks every byte against the hashes in it.
 * @throws {SwarmError} CHECKPOINT_CORRUPT
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const { meta, optimizerStep, sha256 } = await readState(path);
  const tensors: Weights[] = [];
  for (const file of TENSOR_FILES) {
    if ((await readPart(path, file, hashOfFile)) !== sha256[file])
      throw broken(path, `${file} is not what was written`);
    tensors.push(await readPart(path, file, readSafetensors));
  }
  const [weights, firstMoments, secondMoments] = tensors as [Weights, Weights, Weights];
  return { meta, optimizerStep, weights, firstMoments, secondMoments };
}

/**
 * The newest whole checkpoint in `dir`; null when there is none. Unfinished folders (`.tmp`) are never looked at.
 * @param before only steps below this, for going back further
 */
export async function newestCheckpoint(
  dir: string,
  before: number = Number.POSITIVE_INFINITY,
): Promise<FoundCheckpoint | null> {
  const skipped: { path: string; reason: string }[] = [];
  for (const step of await checkpointSteps(dir)) {
    if (step >= before) continue;
    const path = join(dir, `step-${step}`);
    try {
      return { path, checkpoint: await readCheckpoint(path), skipped };
    } catch (error) {
      if (!(error instanceof SwarmError)) throw error;
      skipped.push({ path, reason: error.message });
    }
  }
  return null;
}
