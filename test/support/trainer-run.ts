// A trainer of trainer-bench in a test: started for it, fed with accepted groups, its ledger added up.

import type { TestContext } from 'node:test';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import { type BenchInit, type TrainerBench, trainerBench } from './trainer-bench.ts';

/** Who brings the groups of a test. */
export const PEERS: readonly KeyPair[] = Array.from({ length: 3 }, () => createKeyPair());

/** A trainer that stops with its test. */
export function bench(t: TestContext, init: BenchInit = {}): TrainerBench {
  const made = trainerBench(init);
  t.after(() => made.trainer.stop());
  return made;
}

/** Accepts `count` useful groups at every step the trainer publishes, until it ends. */
export function feed(made: TrainerBench, count: number): void {
  const done = new Set<number>();
  const give = async (step: number): Promise<void> => {
    if (done.has(step)) return;
    done.add(step);
    for (let slot = 0; slot < count; slot++) {
      await made.accepted({
        peer: PEERS[slot % PEERS.length]!,
        policyStep: step,
        slot: Math.floor(slot / PEERS.length),
      });
    }
  };
  made.disk.chain.onReady((policy) => void give(policy.policyStep));
  const now = made.disk.chain.ready();
  if (now !== null) void give(now.policyStep);
}

/** An engine whose checkpoint of a step waits for `written`. */
export function slowDisk(written: Promise<void>, step: number = 1): Pick<BenchInit, 'around'> {
  return {
    around: (components) => ({
      ...components,
      engine: {
        ...components.engine,
        async saveCheckpoint(dir, meta) {
          if (meta.step === step) await written;
          return components.engine.saveCheckpoint(dir, meta);
        },
      },
    }),
  };
}

/** How many batches were replayed, or parts of them. */
export function replays({ policies }: TrainerBench): number {
  return policies.log.filter((call) => call.startsWith('replay')).length;
}
