// One file of the hub into the cache: gone on with where it broke off, its size and hash checked before it counts.
// Does I/O. Invariant: `blobs/<etag>` appears by renaming a file whose hash is the etag; what is unfinished is
// `blobs/<etag>.incomplete`, the name that huggingface_hub uses too.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, isSwarmError, SwarmError } from '../../protocol/errors.ts';
import { type HubCache, isThere } from './cache.ts';
import type { HubClient, HubFile } from './client.ts';

const TRIES_WITHOUT_PROGRESS = 5;

export interface DownloadInit {
  readonly repo: string;
  readonly commit: string;
  /** bytes of this file that are here */
  readonly onProgress: (doneBytes: number) => void;
  /** pause after the first failure, doubled with each; milliseconds */
  readonly pauseMs: number;
}

/**
 * Makes a file part of the commit's snapshot.
 * @throws {SwarmError} HUB_UNREACHABLE, HUB_NOT_FOUND, HUB_DENIED, HUB_CORRUPT; what came stays, for the next time
 */
export async function downloadFile(
  client: HubClient,
  cache: HubCache,
  file: HubFile,
  init: DownloadInit,
): Promise<void> {
  const blob = cache.blob(file.etag);
  if (!(await isThere(blob))) {
    await mkdir(dirname(blob), { recursive: true });
    const incomplete = `${blob}.incomplete`;
    await fetchAll(client, incomplete, file, init);
    if ((await hashOf(incomplete, file)) !== file.etag) {
      await rm(incomplete);
      throw new SwarmError(
        'HUB_CORRUPT',
        `${file.name} of ${init.repo} is not what the hub says it is (hash); it was deleted, try again`,
        { repo: init.repo, name: file.name },
      );
    }
    await rename(incomplete, blob);
  }
  init.onProgress(file.sizeBytes);
  await cache.link(file.etag, init.commit, file.name);
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Asks again, from where it broke off, until the file has its size or nothing comes any more. */
async function fetchAll(client: HubClient, path: string, file: HubFile, init: DownloadInit): Promise<void> {
  let failures = 0;
  let here = await sizeOf(path);
  if (here > file.sizeBytes) here = 0;
  while (here < file.sizeBytes || file.sizeBytes === 0) {
    const before = here;
    let problem: unknown = null;
    try {
      await fetchRest(client, path, here, file, init);
    } catch (error) {
      if (!isSwarmError(error, 'HUB_UNREACHABLE')) throw error;
      problem = error;
    }
    here = await sizeOf(path);
    if (here === file.sizeBytes) return;
    failures = here > before ? 1 : failures + 1;
    if (failures >= TRIES_WITHOUT_PROGRESS) throw brokenOff(file, here, init, problem);
    await sleep(init.pauseMs * 2 ** (failures - 1));
  }
}

function brokenOff(file: HubFile, here: number, { repo }: DownloadInit, cause: unknown): SwarmError {
  const why = cause === null ? 'the hub sends less than it promised' : errorText(cause);
  return new SwarmError(
    'HUB_UNREACHABLE',
    `${file.name} of ${repo} broke off at ${here} of ${file.sizeBytes} bytes: ${why}. The same command goes on from there.`,
    { repo, name: file.name, hereBytes: here, sizeBytes: file.sizeBytes },
    { cause },
  );
}

function fetchRest(
  client: HubClient,
  path: string,
  from: number,
  file: HubFile,
  { repo, commit, onProgress }: DownloadInit,
): Promise<void> {
  return client.read(repo, commit, file.name, from, async (start, chunks) => {
    const handle = await open(path, start === 0 ? 'w' : 'a');
    try {
      let here = start;
      for await (const chunk of chunks) {
        here += chunk.length;
        if (here > file.sizeBytes) {
          throw new SwarmError('HUB_CORRUPT', `${file.name} of ${repo} is longer than the hub says; try again`, {
            repo,
          });
        }
        await handle.writeFile(chunk);
        onProgress(here);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

/** SHA-256, or git's blob id: SHA-1 of "blob <size>\0" and the bytes. */
async function hashOf(path: string, { etag, sizeBytes }: HubFile): Promise<string> {
  const hash = createHash(etag.length === 64 ? 'sha256' : 'sha1');
  if (etag.length === 40) hash.update(`blob ${sizeBytes}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
