// Which files of a model are needed: names only, so that what lies in a repository beside them is never fetched.

import { SwarmError } from '../../protocol/errors.ts';
import { INDEX_FILE, WEIGHTS_FILE } from '../weight-files.ts';
import type { HubFile } from './client.ts';

export const CONFIG_FILE = 'config.json';
const REQUIRED = [CONFIG_FILE, 'tokenizer.json', 'tokenizer_config.json'] as const;
const OPTIONAL = [
  'generation_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
] as const;

const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$/;

function missing(repo: string, name: string, hint: string): SwarmError {
  return new SwarmError('MODEL_FILE_MISSING', `${repo} has no ${name}: ${hint}`, { repo, name });
}

/**
 * The small files, config.json first, and the index of sharded weights.
 * @throws {SwarmError} MODEL_FILE_MISSING
 */
export function textFiles(repo: string, files: readonly HubFile[]): HubFile[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  for (const name of REQUIRED) {
    if (!byName.has(name)) throw missing(repo, name, 'choose a model whose files are in Hugging Face form');
  }
  const names = [...REQUIRED, ...OPTIONAL, ...(byName.has(WEIGHTS_FILE) ? [] : [INDEX_FILE])];
  if (!byName.has(WEIGHTS_FILE) && !byName.has(INDEX_FILE)) {
    throw missing(repo, WEIGHTS_FILE, 'only safetensors weights are read; choose a model that has them');
  }
  return names.flatMap((name) => byName.get(name) ?? []);
}

/**
 * The weights: one file, or the shards that the index names.
 * @param index text of the index; null where there is one file
 * @throws {SwarmError} MODEL_FILE_MISSING, MODEL_FILE_CORRUPT
 */
export function weightFiles(repo: string, files: readonly HubFile[], index: string | null): HubFile[] {
  const names = index === null ? [WEIGHTS_FILE] : shardNames(repo, index);
  return names.map((name) => {
    const file = files.find((one) => one.name === name);
    if (file === undefined) throw missing(repo, name, 'its index names it; choose another revision');
    return file;
  });
}

/** Names of the shards in an index. @throws {SwarmError} MODEL_FILE_CORRUPT */
export function shardNames(repo: string, index: string): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(index) as { weight_map?: unknown } | null)?.weight_map;
  } catch {
    map = null;
  }
  const names = typeof map === 'object' && map !== null ? [...new Set(Object.values(map))] : [];
  const plain = names.filter((name): name is string => typeof name === 'string' && PLAIN_NAME.test(name));
  if (plain.length > 0 && plain.length === names.length) return plain.sort();
  throw new SwarmError('MODEL_FILE_CORRUPT', `${INDEX_FILE} of ${repo} names no shards; choose another revision`, {
    repo,
  });
}
