// The small files of a model folder: read whole, no longer than any honest one is.

import { readFile, stat } from 'node:fs/promises';
import { SwarmError } from '../protocol/errors.ts';

/** The largest tokenizers in use are some 35 MB. */
const MAX_BYTES = 64 << 20;

/** What is said of any file of a model folder that is not there. */
export function missingModelFile(path: string, cause: unknown): SwarmError {
  return new SwarmError(
    'MODEL_FILE_MISSING',
    `Cannot read ${path}. A model folder holds config.json, model.safetensors (or shards and their index), tokenizer.json and tokenizer_config.json.`,
    { path },
    { cause },
  );
}

/**
 * A file of JSON or text that is small in any honest folder.
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT
 */
export async function readSmall(path: string): Promise<Buffer> {
  const { size } = await stat(path).catch((cause: unknown) => {
    throw missingModelFile(path, cause);
  });
  if (size > MAX_BYTES) {
    throw new SwarmError('MODEL_FILE_CORRUPT', `${path} has ${size} bytes, over ${MAX_BYTES}.`, { path });
  }
  return readFile(path).catch((cause: unknown) => {
    throw missingModelFile(path, cause);
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
