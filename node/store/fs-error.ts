// What a failed disk operation means to us.
// Invariant: a full disk is always DISK_FULL, whichever call met it.

import { errnoOf, isDiskFull } from '../protocol/disk.ts';
import { errorText, SwarmError } from '../protocol/errors.ts';

/**
 * The error to throw for a disk operation that failed: DISK_FULL, or DATA_DIR_UNUSABLE with the cause.
 * @param doing what was being done, e.g. "write a blob"
 */
export function diskError(error: unknown, doing: string): SwarmError {
  if (error instanceof SwarmError) return error;
  if (isDiskFull(error)) {
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
