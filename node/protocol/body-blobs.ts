// How long bodies of groups are kept, and their deletion. Source: spec/wire.md "Counting".
// An announcement names its body by any hash that its peer likes, be it that of a recipe or of a shard.
// Invariant: nothing is deleted that is not a body.

import { decodeBody } from './body.ts';
import { isSwarmError } from './errors.ts';
import type { BlobStore } from './ports.ts';

/** Bodies are kept maxLag + this many steps (spec/wire.md "Counting"). */
export const KEEP_BODY_STEPS = 2;

/** The part of a blob store that deleting needs. */
export type DeletableBlobs = Pick<BlobStore, 'has' | 'get' | 'delete'>;

/**
 * Deletes a blob if it is here and is a body.
 * @returns whether it was deleted
 */
export async function deleteBody(blobs: DeletableBlobs, hashHex: string): Promise<boolean> {
  if (!(await blobs.has(hashHex))) return false;
  try {
    decodeBody(await blobs.get(hashHex));
  } catch (error) {
    if (isSwarmError(error, 'MALFORMED', 'TOO_LARGE', 'BLOB_MISSING', 'BLOB_CORRUPT')) return false;
    throw error;
  }
  await blobs.delete(hashHex);
  return true;
}
