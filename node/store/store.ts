// A data directory opened by one process: records in LevelDB, blobs as files, this machine's key.
// Source: design.md "level stores records …". Invariant: one process at a time; a start cleans up what a killed one left.

import { resolve } from 'node:path';
import { Level } from 'level';
import { errnoOf } from '../protocol/disk.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { KeyPair } from '../protocol/keys.ts';
import type { Logger, Records } from '../protocol/ports.ts';
import { type BlobFiles, createBlobFiles } from './blobs.ts';
import { type DataDirLayout, dataDirLayout, runningNode, writePidFile } from './data-dir.ts';
import { type FileSystem, makeFolder, NODE_FILE_SYSTEM } from './files.ts';
import { diskError } from './fs-error.ts';
import { loadIdentity } from './identity.ts';
import { createRecords, type Database } from './records.ts';

export interface Store {
  readonly dir: string;
  readonly blobs: BlobFiles;
  /** the records called `name` (letters, digits, `-`); the same object for the same name */
  records(name: string): Records;
  /** made at first. @throws {SwarmError} BAD_KEY */
  identity(passphrase?: string): Promise<KeyPair>;
  /** may be called again */
  close(): Promise<void>;
}

export interface StoreInit {
  readonly dir: string;
  /** bound on the sum of blob sizes */
  readonly maxDiskBytes: number;
  readonly logger: Logger;
  /** node:fs/promises unless told otherwise */
  readonly files?: FileSystem;
}

/**
 * Opens a data directory, making it at first.
 * @throws {SwarmError} DATA_DIR_IN_USE (detail.pid when known), DATA_DIR_UNUSABLE, DISK_FULL
 */
export async function createStore(init: StoreInit): Promise<Store> {
  const { dir, logger, files = NODE_FILE_SYSTEM } = init;
  const layout = dataDirLayout(dir);
  await makeFolders(files, layout);
  const db = await openDatabase(layout, files);
  try {
    // From here on the directory is ours.
    await removeLeftovers(layout, files, logger);
    await writePidFile(layout, files);
    const blobs = await createBlobFiles({ layout, maxDiskBytes: init.maxDiskBytes, logger, files });
    return openStore({ layout, files, logger, db, blobs });
  } catch (error) {
    await db.close();
    throw diskError(error, `open the data directory ${dir}`);
  }
}

async function makeFolders(files: FileSystem, layout: DataDirLayout): Promise<void> {
  try {
    await makeFolder(files, resolve(layout.dir), 0o700);
    for (const folder of [layout.blobs, layout.temporary]) {
      await makeFolder(files, resolve(folder));
    }
  } catch (error) {
    throw diskError(error, `make the data directory ${layout.dir}`);
  }
}

async function openDatabase(layout: DataDirLayout, files: FileSystem): Promise<Database> {
  const db: Database = new Level<string, Uint8Array>(layout.db, { valueEncoding: 'view' });
  try {
    await db.open();
    return db;
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (errnoOf(cause) !== 'LEVEL_LOCKED') throw diskError(cause ?? error, `open the records in ${layout.db}`);
    const running = await runningNode(layout.dir, files).catch(() => null);
    const by = running === null ? 'another process' : `process ${running.pid}`;
    throw new SwarmError(
      'DATA_DIR_IN_USE',
      `the data directory ${layout.dir} is in use by ${by}; stop it, or choose another with --data-dir`,
      { dir: layout.dir, pid: running?.pid ?? null },
      { cause: error },
    );
  }
}

async function removeLeftovers(layout: DataDirLayout, files: FileSystem, logger: Logger): Promise<void> {
  const leftovers = await files.readdir(layout.temporary);
  if (leftovers.length === 0) return;
  logger.info({ count: leftovers.length }, 'removing files that a killed process left unfinished');
  await files.rm(layout.temporary, { recursive: true, force: true });
  await makeFolder(files, resolve(layout.temporary));
}

interface OpenStore {
  readonly layout: DataDirLayout;
  readonly files: FileSystem;
  readonly logger: Logger;
  readonly db: Database;
  readonly blobs: BlobFiles;
}

function openStore(open: OpenStore): Store {
  const { layout, files, db, blobs } = open;
  const known = new Map<string, Records>();
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await files.rm(layout.pidFile, { force: true });
    await db.close();
  };
  return {
    dir: layout.dir,
    blobs,
    records(name) {
      const records = known.get(name) ?? createRecords(db, name);
      known.set(name, records);
      return records;
    },
    identity: (passphrase) => loadIdentity(open, passphrase),
    close() {
      closing ??= close();
      return closing;
    },
  };
}
