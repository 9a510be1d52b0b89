// What lies where in a data directory, and whose it is at the moment.
// The lock itself is LevelDB's (held by the kernel, so kill -9 frees it at once); the pid file only says who holds it.
// Invariant: reading who runs there changes nothing.

import { join } from 'node:path';
import { fromUtf8, utf8 } from '../protocol/bytes.ts';
import { errnoOf } from '../protocol/disk.ts';
import { type FileSystem, NODE_FILE_SYSTEM, readIfThere, writeWhole } from './files.ts';

export interface DataDirLayout {
  readonly dir: string;
  /** LevelDB */
  readonly db: string;
  /** whole blobs: blobs/ab/<hash> */
  readonly blobs: string;
  /** model folders: policies/<recipe id>/<policy root> */
  readonly policies: string;
  /** files being written; emptied at every start */
  readonly temporary: string;
  readonly keyFile: string;
  readonly pidFile: string;
}

/** Paths inside a data directory. */
export function dataDirLayout(dir: string): DataDirLayout {
  return {
    dir,
    db: join(dir, 'db'),
    blobs: join(dir, 'blobs'),
    policies: join(dir, 'policies'),
    temporary: join(dir, 'tmp'),
    keyFile: join(dir, 'key.json'),
    pidFile: join(dir, 'node.pid'),
  };
}

/** Where the blob of that hash lies, if it is here. */
export function blobFile({ blobs }: DataDirLayout, hashHex: string): string {
  return join(blobs, hashHex.slice(0, 2), hashHex);
}

/** The model folder of a recipe's policy, if it is here. */
export function policyFolder({ policies }: DataDirLayout, recipeIdHex: string, rootHex: string): string {
  return join(policies, recipeIdHex, rootHex);
}

/** Who uses a data directory. */
export interface RunningNode {
  readonly pid: number;
}

/**
 * The process that has a data directory open, null when there is none (or only a pid file that a killed one left).
 * A pid may have been given to another program since: whoever needs certainty asks the control socket.
 */
export async function runningNode(dir: string, files: FileSystem = NODE_FILE_SYSTEM): Promise<RunningNode | null> {
  const bytes = await readIfThere(files, dataDirLayout(dir).pidFile);
  const text = bytes === null ? '' : fromUtf8(bytes).trim();
  if (!/^[1-9][0-9]{0,9}$/.test(text)) return null;
  const pid = Number(text);
  return isAlive(pid) ? { pid } : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there, and somebody else's.
    return errnoOf(error) === 'EPERM';
  }
}

/** Says that this process has the directory open. To be called under LevelDB's lock only. */
export async function writePidFile(layout: DataDirLayout, files: FileSystem): Promise<void> {
  await writeWhole(files, layout.temporary, layout.pidFile, utf8(`${process.pid}\n`));
}
