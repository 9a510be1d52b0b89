// A folder that appears whole or not at all: written under another name beside its place, then renamed.
// Invariant: what was at the place before stays untouched until the new folder is complete; nothing else is ever deleted.

import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SwarmError } from '../../protocol/errors.ts';

/**
 * Whether a folder may be put at `out`.
 * @param force replaces a model folder (one with a config.json); any other folder with something in it is left alone
 * @throws {SwarmError} OUTPUT_EXISTS
 */
export async function checkFolderPlace(out: string, force: boolean): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw new SwarmError('OUTPUT_EXISTS', `${out} is no folder; name another place`, { out }, { cause: error });
  });
  if (names.length === 0 || (force && names.includes('config.json'))) return;
  throw new SwarmError(
    'OUTPUT_EXISTS',
    force
      ? `${out} holds something that is no model (no config.json), so it is not replaced; name another place`
      : `${out} is not empty; name another place, or replace a model there with --force`,
    { out },
  );
}

/**
 * Writes a folder whole. `write` gets an empty folder to fill.
 * @throws {SwarmError} OUTPUT_EXISTS, and whatever `write` throws: nothing is left then
 */
export async function writeFolderWhole(
  out: string,
  force: boolean,
  write: (dir: string) => Promise<void>,
): Promise<void> {
  const place = resolve(out);
  await checkFolderPlace(place, force);
  const beside = (suffix: string): string => join(dirname(place), `.${basename(place)}.${process.pid}.${suffix}`);
  const [temporary, old] = [beside('tmp'), beside('old')];
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    await write(temporary);
    await checkFolderPlace(place, force);
    if (existsSync(place)) await rename(place, old);
    await rename(temporary, place);
  } catch (error) {
    if (existsSync(old) && !existsSync(place)) await rename(old, place);
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  await rm(old, { recursive: true, force: true });
}
