// What a failed disk operation means to us. Source: errno names of POSIX, as node:fs gives them in `code`.
// Invariant: a full disk is always DISK_FULL, whichever call met it.

import { errorText, SwarmError } from '../protocol/errors.ts';

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** The errno name of an error of node:fs, or null. */
export function errnoOf(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

function isFull(error: unknown): boolean {
  const errno = errnoOf(error);
  if (errno !== null && FULL.has(errno)) return true;
  // LevelDB has no errno, only the text of strerror.
  if (error instanceof Error && /no space left|quota exceeded|file too large/i.test(error.message)) return true;
  return error instanceof Error && error.cause !== undefined && isFull(error.cause);
}

/**
 * The error to throw for a disk operation that failed: DISK_FULL, or DATA_DIR_UNUSABLE with the cause.
 * @param doing what was being done, e.g. "write a blob"
 */
export function diskError(error: unknown, doing: string): SwarmError {
  if (error instanceof SwarmError) return error;
  if (isFull(error)) {
    return new SwarmError(
      'DISK_FULL',
      `the disk is full: could not ${doing}; nothing that was whole is lost. Free some space, or lower --max-disk`,
      { doing },
      { cause: error },
    );
  }
  return new SwarmError(
    'DATA_DIR_UNUSABLE',
    `could not ${doing}: ${errorText(error)}. Check the data directory's disk and permissions`,
    { doing, errno: errnoOf(error) },
    { cause: error },
  );
}
