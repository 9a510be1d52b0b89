// Files that are whole or not there: written to a temporary name, fsynced, renamed, the folder fsynced.
// Invariant: whatever fails, the file that was there before is untouched and the temporary one is removed.

import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { plainBytes } from '../protocol/bytes.ts';
import { errnoOf, syncFolder, writeFlushed } from '../protocol/disk.ts';

/** What is used of node:fs/promises; tests give one that fails. */
export type FileSystem = Pick<
  typeof fs,
  'mkdir' | 'open' | 'readFile' | 'readdir' | 'rename' | 'rm' | 'stat' | 'unlink' | 'chmod'
>;

export const NODE_FILE_SYSTEM: FileSystem = fs;

/**
 * Writes a whole file under its name, or nothing.
 * @param temporaryDir folder on the same file system
 */
export async function writeWhole(
  files: FileSystem,
  temporaryDir: string,
  path: string,
  bytes: Uint8Array,
  mode = 0o644,
): Promise<void> {
  const temporary = join(temporaryDir, `${randomBytes(8).toString('hex')}.tmp`);
  try {
    await writeFlushed(temporary, [bytes], { openFile: () => files.open(temporary, 'wx', mode) });
    await files.rename(temporary, path);
    // So that the new name survives a power failure too.
    await syncFolder(dirname(path), files.open);
  } catch (error) {
    await files.rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Makes a folder and those above it. Not mkdir's own `recursive`: that never returns where a folder takes no
 * children, as under /proc (measured on Node 24).
 */
export async function makeFolder(files: FileSystem, path: string, mode = 0o755): Promise<void> {
  try {
    await files.mkdir(path, { mode });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' && (await files.stat(path)).isDirectory()) return;
    const above = dirname(path);
    if (errnoOf(error) !== 'ENOENT' || above === path || (await isThere(files, above))) throw error;
    await makeFolder(files, above, mode);
    await files.mkdir(path, { mode }).catch((again: unknown) => {
      // Another process may have made it meanwhile.
      if (errnoOf(again) !== 'EEXIST') throw again;
    });
  }
}

async function isThere(files: FileSystem, path: string): Promise<boolean> {
  return files.stat(path).then(
    () => true,
    () => false,
  );
}

/** Bytes of a file, null when there is none. */
export async function readIfThere(files: FileSystem, path: string): Promise<Uint8Array | null> {
  try {
    return plainBytes(await files.readFile(path));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}
