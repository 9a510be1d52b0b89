// A file system with little space: writes over it leave half a file and ENOSPC, as a real one does.

import type { FileHandle } from 'node:fs/promises';
import * as fs from 'node:fs/promises';
import type { FileSystem } from '../../node/store/files.ts';

export interface FullDisk {
  readonly files: FileSystem;
  /** bytes that may still be written */
  freeBytes: number;
  /** errno that syncing a file fails with, null for none */
  syncFails: string | null;
  /** errno that renaming fails with, null for none */
  renameFails: string | null;
}

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/** @param freeBytes at first */
export function fullDisk(freeBytes: number): FullDisk {
  const disk: FullDisk = {
    freeBytes,
    syncFails: null,
    renameFails: null,
    files: {
      ...fs,
      rename: (from, to) => (disk.renameFails === null ? fs.rename(from, to) : Promise.reject(errno(disk.renameFails))),
      open: async (path, flags, mode) => failing(disk, await fs.open(path, flags, mode)),
    },
  };
  return disk;
}

function failing(disk: FullDisk, handle: FileHandle): FileHandle {
  const write = handle.writeFile.bind(handle);
  const sync = handle.sync.bind(handle);
  handle.writeFile = async (data) => {
    const bytes = data as Uint8Array;
    const fits = Math.min(bytes.length, disk.freeBytes);
    disk.freeBytes -= fits;
    await write(bytes.subarray(0, fits));
    if (fits < bytes.length) throw errno('ENOSPC');
  };
  handle.sync = async () => {
    if (disk.syncFails !== null) throw errno(disk.syncFails);
    await sync();
  };
  return handle;
}
