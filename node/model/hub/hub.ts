// A model by its hub id as a folder on this machine: from the cache, or downloaded into it, only the files that are needed.
// Why not a package: @huggingface/hub (12 MB with what it needs) neither goes on with a broken download nor checks hashes,
// knows no offline mode and tells no progress; transformers.js has a cache of its own that no other tool shares.
// Does I/O.

import { mkdir, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { isSwarmError, SwarmError } from '../../protocol/errors.ts';
import { parseModelConfig } from '../config.ts';
import { parseJson } from '../small-files.ts';
import { INDEX_FILE, WEIGHTS_FILE } from '../weight-files.ts';
import { type Environment, type HubCache, hubCacheDir, isThere, openHubCache } from './cache.ts';
import { createHubClient, type HubClient, type HubFile, type HubModel } from './client.ts';
import { downloadFile } from './download.ts';
import { type HubId, isCommit, printHubId } from './hub-id.ts';
import { CONFIG_FILE, shardNames, textFiles, weightFiles } from './model-files.ts';

const DEFAULT_ENDPOINT = 'https://huggingface.co';
const PAUSE_MS = 500;
const IDLE_MS = 60_000;

/** A model that is on this machine. */
export interface LocalModel {
  readonly folder: string;
  /** 40 hex digits */
  readonly commit: string;
}

export interface HubInit {
  /** HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE are read from it */
  readonly env: Environment;
  /** called once, before anything large is fetched */
  readonly onSize?: (downloadBytes: number) => void;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** the hub does not answer, and an older copy is used */
  readonly onStale?: (commit: string) => void;
  /** pause after the first failed try of a file; milliseconds */
  readonly pauseMs?: number;
  /** longest that nothing may come; milliseconds */
  readonly idleMs?: number;
}

function isOffline(env: Environment): boolean {
  return ['1', 'on', 'yes', 'true'].includes((env['HF_HUB_OFFLINE'] ?? '').toLowerCase());
}

/** The model when all of it is in the cache, without asking anybody. */
export async function findCachedModel(id: HubId, env: Environment): Promise<LocalModel | null> {
  const cache = openHubCache(hubCacheDir(env), id);
  const commit = await cache.commitOf(id.revision);
  return commit !== null && (await isWhole(cache.snapshot(commit))) ? { folder: cache.snapshot(commit), commit } : null;
}

async function isWhole(folder: string): Promise<boolean> {
  const has = (name: string): Promise<boolean> => isThere(join(folder, name));
  if (!(await has(CONFIG_FILE)) || !(await has('tokenizer.json')) || !(await has('tokenizer_config.json')))
    return false;
  if (await has(WEIGHTS_FILE)) return true;
  const index = await readFile(join(folder, INDEX_FILE), 'utf8').catch(() => null);
  if (index === null) return false;
  for (const name of shardNames(folder, index)) if (!(await has(name))) return false;
  return true;
}

/**
 * The model's folder, downloaded where it is not in the cache. A commit that is cached is not asked for again.
 * @throws {SwarmError} HUB_OFFLINE, HUB_UNREACHABLE, HUB_NOT_FOUND, HUB_DENIED, HUB_CORRUPT, DISK_FULL,
 *   MODEL_FILE_MISSING, MODEL_FILE_CORRUPT, UNSUPPORTED_MODEL (before its weights are fetched)
 */
export async function fetchModel(id: HubId, init: HubInit): Promise<LocalModel> {
  const cached = await findCachedModel(id, init.env);
  if (cached !== null && (isOffline(init.env) || isCommit(id.revision))) return cached;
  if (isOffline(init.env)) {
    throw new SwarmError(
      'HUB_OFFLINE',
      `${printHubId(id)} is not in ${hubCacheDir(init.env)}, and HF_HUB_OFFLINE is set; unset it, or name a local folder`,
      { repo: id.repo, revision: id.revision },
    );
  }
  const client = createHubClient({
    endpoint: init.env['HF_ENDPOINT'] || DEFAULT_ENDPOINT,
    token: init.env['HF_TOKEN'] || undefined,
    idleMs: init.idleMs ?? IDLE_MS,
  });
  const model = await client.model(id).catch((error: unknown) => {
    if (cached === null || !isSwarmError(error, 'HUB_UNREACHABLE')) throw error;
    init.onStale?.(cached.commit);
    return null;
  });
  return model === null && cached !== null ? cached : download(client, id, model!, init);
}

async function download(client: HubClient, id: HubId, model: HubModel, init: HubInit): Promise<LocalModel> {
  const cache = openHubCache(hubCacheDir(init.env), id);
  const { commit, files } = model;
  const folder = cache.snapshot(commit);
  const get = (file: HubFile, onProgress: (doneBytes: number) => void): Promise<void> =>
    downloadFile(client, cache, file, {
      ...{ repo: id.repo, commit, onProgress },
      pauseMs: init.pauseMs ?? PAUSE_MS,
    });
  const texts = textFiles(id.repo, files);
  for (const file of texts) {
    await get(file, () => {});
    if (file.name !== CONFIG_FILE) continue;
    const path = join(folder, CONFIG_FILE);
    parseModelConfig(parseJson(await readFile(path, 'utf8'), path));
  }
  const isSharded = texts.some(({ name }) => name === INDEX_FILE);
  const index = isSharded ? await readFile(join(folder, INDEX_FILE), 'utf8') : null;
  const weights = weightFiles(id.repo, files, index);
  const toFetch = await missingBytes(cache, weights);
  if (toFetch > 0) {
    await checkSpace(cache, toFetch);
    init.onSize?.(toFetch);
  }
  const total = weights.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let before = 0;
  for (const file of weights) {
    await get(file, (doneBytes) => (toFetch > 0 ? init.onProgress?.(before + doneBytes, total) : undefined));
    before += file.sizeBytes;
  }
  await cache.remember(id.revision, commit);
  return { folder, commit };
}

async function missingBytes(cache: HubCache, files: readonly HubFile[]): Promise<number> {
  let bytes = 0;
  for (const { etag, sizeBytes } of files) if (!(await isThere(cache.blob(etag)))) bytes += sizeBytes;
  return bytes;
}

async function checkSpace(cache: HubCache, bytes: number): Promise<void> {
  await mkdir(cache.dir, { recursive: true });
  const { bavail, bsize } = await statfs(cache.dir);
  if (bavail * bsize >= bytes) return;
  throw new SwarmError(
    'DISK_FULL',
    `${bytes} bytes are to be downloaded, and ${cache.dir} has room for ${bavail * bsize}; free some, or set HF_HUB_CACHE`,
    { bytes },
  );
}
