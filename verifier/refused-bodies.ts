// Bodies of groups that were not accepted: kept for `murmur replay` and for whoever doubts the verdict, the newest of them, so that
// garbage from ever new keys does not fill the disk. In memory: those of an earlier run leave with their step.
// Invariants: those kept take MAX_REFUSED_BYTES at most; nothing is deleted that is not a body.

import { type DeletableBlobs, deleteBody } from '../node/protocol/body-blobs.ts';
import { toHex } from '../node/protocol/bytes.ts';
import type { GroupAnnouncement } from '../node/protocol/group.ts';

/** Our own: thousands of groups of a small recipe, the largest body twice. */
export const MAX_REFUSED_BYTES: number = 64 * 2 ** 20;

export interface RefusedBodies {
  /** a body that was fetched for this group */
  add(group: Pick<GroupAnnouncement, 'bodyHash' | 'bodyBytes'>): Promise<void>;
  /** it is somebody's that was accepted, or was deleted with its step */
  forget(hashHex: string): void;
}

/** None at first. */
export function createRefusedBodies({ store }: { readonly store: DeletableBlobs }): RefusedBodies {
  /** bytes by hash, the oldest first */
  const kept = new Map<string, number>();
  let bytes = 0;
  const forget = (hashHex: string): void => {
    bytes -= kept.get(hashHex) ?? 0;
    kept.delete(hashHex);
  };
  return {
    forget,
    async add({ bodyHash, bodyBytes }) {
      const hashHex = toHex(bodyHash);
      if (kept.has(hashHex)) return;
      kept.set(hashHex, bodyBytes);
      bytes += bodyBytes;
      for (const oldest of kept.keys()) {
        if (bytes <= MAX_REFUSED_BYTES) return;
        forget(oldest);
        await deleteBody(store, oldest);
      }
    },
  };
}
