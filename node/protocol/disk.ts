// Disk writing for every layer: what a failed write says, files and folders that survive a power failure.
// Source: errno names of POSIX, as node:fs gives them in `code`.

import { type FileHandle, open } from 'node:fs/promises';

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** The errno name of an error of node:fs, or null. */
export function errnoOf(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** Whether a disk operation failed for want of space, or of a quota. */
export function isDiskFull(error: unknown): boolean {
  const errno = errnoOf(error);
  if (errno !== null && FULL.has(errno)) return true;
  // LevelDB has no errno, only the text of strerror.
  if (error instanceof Error && /no space left|quota exceeded|file too large/i.test(error.message)) return true;
  return error instanceof Error && error.cause !== undefined && isDiskFull(error.cause);
}

/** How a file is opened; tests give one on a disk that is full. */
export type OpenFile = (path: string, flags: string) => Promise<FileHandle>;

/**
 * Writes a file and fsyncs it.
 * @param meanwhile is given each piece while it is being written
 */
export async function writeFlushed(
  path: string,
  pieces: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
  { openFile = open, meanwhile }: { openFile?: OpenFile; meanwhile?: (piece: Uint8Array | string) => void } = {},
): Promise<void> {
  const handle = await openFile(path, 'w');
  try {
    for await (const piece of pieces) {
      const written = handle.writeFile(piece);
      meanwhile?.(piece);
      await written;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** fsyncs a folder, so that the names in it survive a power failure. */
export async function syncFolder(folder: string, openFile: OpenFile = open): Promise<void> {
  // Windows cannot open folders, and needs no fsync of them.
  if (process.platform === 'win32') return;
  const handle = await openFile(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
