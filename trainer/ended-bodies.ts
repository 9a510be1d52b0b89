// Bodies of groups that have ended: kept for whoever checks them still, then deleted. Source: spec/wire.md "Counting".

import { deleteBody, KEEP_BODY_STEPS } from '../node/protocol/body-blobs.ts';
import type { BlobStore } from '../node/protocol/ports.ts';

export interface EndedBodies {
  /** @param policyStep the trainer's at the end of the body's group */
  note(hashHex: string, policyStep: number): void;
  /** @param policyStep the trainer's now */
  deleteOld(policyStep: number): Promise<void>;
}

export function createEndedBodies(blobs: BlobStore, { maxLagSteps }: { readonly maxLagSteps: number }): EndedBodies {
  /** hash to step of the end */
  const ends = new Map<string, number>();
  return {
    note: (hashHex, policyStep) => void ends.set(hashHex, policyStep),
    async deleteOld(policyStep) {
      for (const [hashHex, end] of ends) {
        if (policyStep - end <= maxLagSteps + KEEP_BODY_STEPS) continue;
        ends.delete(hashHex);
        await deleteBody(blobs, hashHex);
      }
    },
  };
}
