// The hub's cache on disk, as Hugging Face's own tools lay it out and share it:
// <cache>/models--owner--name/{refs/<revision> (a commit), blobs/<etag>, snapshots/<commit>/<file> -> ../../blobs/<etag>}.
// Source: huggingface_hub's guide "Understand caching". Does I/O. Invariant: a blob under its own name is whole and checked.

import { access, copyFile, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { type HubId, isCommit } from './hub-id.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the cache lies: HF_HUB_CACHE, else hub/ in HF_HOME, else ~/.cache/huggingface/hub. */
export function hubCacheDir(env: Environment): string {
  const home = env['HF_HOME'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'huggingface');
  return env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'] || join(home, 'hub');
}

/** Paths of one model's part of the cache. */
export interface HubCache {
  readonly dir: string;
  blob(etag: string): string;
  snapshot(commit: string): string;
  /** the commit that a revision meant when it was last asked; null when it never was */
  commitOf(revision: string): Promise<string | null>;
  remember(revision: string, commit: string): Promise<void>;
  /** makes a whole blob visible under its file's name */
  link(etag: string, commit: string, file: string): Promise<void>;
}

export function openHubCache(cacheDir: string, { repo }: Pick<HubId, 'repo'>): HubCache {
  const dir = join(cacheDir, `models--${repo.replace('/', '--')}`);
  const snapshot = (commit: string): string => join(dir, 'snapshots', commit);
  const blob = (etag: string): string => join(dir, 'blobs', etag);
  return {
    dir,
    blob,
    snapshot,
    async commitOf(revision) {
      if (isCommit(revision)) return revision;
      const text = await readFile(join(dir, 'refs', revision), 'utf8').catch(() => '');
      return isCommit(text.trim()) ? text.trim() : null;
    },
    async remember(revision, commit) {
      if (isCommit(revision)) return;
      const path = join(dir, 'refs', revision);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(`${path}.tmp`, commit);
      await rename(`${path}.tmp`, path);
    },
    async link(etag, commit, file) {
      const path = join(snapshot(commit), file);
      await mkdir(dirname(path), { recursive: true });
      await rm(path, { force: true });
      // Where links are not allowed (Windows) the file is there twice.
      await symlink(relative(dirname(path), blob(etag)), path).catch(() => copyFile(blob(etag), path));
    },
  };
}

/** Whether a path is there; a link to nothing is not. */
export async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
