// TOPLOC proofs in a thread of their own, off the decode path and off the network's thread (spec/toploc.md "Cost").

import { createThread, threadFile } from '../model/engine/thread-calls.ts';
import type { Prover } from '../protocol/ports.ts';
import type { ProverFunctions } from './prover-thread.ts';

export interface ProverThread extends Prover {
  close(): Promise<void>;
}

/** Enough for a few megabytes of states at a time; V8's own limit is 48 MB. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8 };

/** A prover whose thread starts with the first call. */
export function createProver(): ProverThread {
  const thread = createThread<ProverFunctions>({
    name: 'prover',
    file: threadFile(import.meta.url, 'prover-thread'),
    resourceLimits: RESOURCE_LIMITS,
  });
  return {
    async prove(hidden, hiddenSize) {
      if (hidden.length === 0) return new Uint8Array(0);
      const own = hidden.slice();
      return thread.call('prove', [own, hiddenSize], [own.buffer]);
    },
    close: () => thread.close(),
  };
}
