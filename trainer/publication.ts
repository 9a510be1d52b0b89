// From trained weights to a manifest: how many groups are wanted for it, and the record of what went into it.
// Source: spec/wire.md "Enough, not too much"; spec/shardcast.md "Training record".
// Invariant: what is published again for the same state has the same root; the record's blobs are stored before it is signed.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobRef } from '../node/protocol/blob-ref.ts';
import { concatBytes, fromHex, sha256, utf8 } from '../node/protocol/bytes.ts';
import { type Admission, shareOf, type TrainingRecord } from '../node/protocol/manifest.ts';
import type { BlobStore, Clock } from '../node/protocol/ports.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';
import { admissionOf } from './admission.ts';
import type { Pool } from './pool.ts';
import type { RunState } from './run-state.ts';
import type { PolicyPublisher } from './trainer-ports.ts';

/** The same admission is said again so often: for those who missed it. Our own. */
const REPEAT_MS = 60_000;

const MOMENT_FILES = ['first-moments.safetensors', 'second-moments.safetensors'] as const;

export interface Publication {
  /** @param checkpoint folder that holds the same state; null before the first step */
  publish(state: RunState, weights: Uint8Array, checkpoint: string | null): Promise<void>;
  /**
   * Raises the admission of the policy that is out: what it asked for did not make a batch. Every node passes an announcement on,
   * so what was said is not said again before a minute has passed.
   * @param isLate the recipe's patience is over: peers that have brought nothing of this policy may be gone, the others get their share
   */
  askForMore(state: RunState, isLate: boolean): Promise<void>;
  close(): Promise<void>;
}

/**
 * SHA-256 over the hashes of both moments' files as the checkpoint records them: what an auditor must start from.
 * Null when the folder holds no such record.
 */
async function optimizerStateHash(checkpoint: string): Promise<Uint8Array | null> {
  try {
    const state = JSON.parse(await readFile(join(checkpoint, 'state.json'), 'utf8')) as {
      readonly sha256?: Readonly<Record<string, string>>;
    };
    const hashes = MOMENT_FILES.map((file) => fromHex(state.sha256?.[file] ?? '', 32));
    return sha256(...hashes);
  } catch {
    return null;
  }
}

/** Publishes the states of one run. */
export function createPublication(
  components: {
    readonly publisher: PolicyPublisher;
    readonly blobs: BlobStore;
    readonly pool: Pool;
    readonly clock: Clock;
  },
  init: { readonly recipe: ResolvedRecipe },
): Publication {
  const { publisher, blobs, pool, clock } = components;
  const { staleness, grpo } = init.recipe.recipe;
  /** blobs of records, oldest first, as many publications as peers keep */
  const kept: string[][] = [];
  /** the most that a peer was asked for of the policy that is out */
  let askedOfEach = 0;
  let said: Admission = { wantGroups: 0, activePeers: 0 };
  let saidMs = Number.NEGATIVE_INFINITY;

  function note(admission: Admission): void {
    said = admission;
    saidMs = clock.nowMs();
  }

  function admission({ policyStep }: RunState): Admission {
    return admissionOf({
      maxLagSteps: staleness.maxLagSteps,
      promptsPerStep: grpo.promptsPerStep,
      usefulShare: pool.usefulShare(),
      waiting: (mostEach) => pool.waiting(mostEach),
      activePeers: pool.activePeers(policyStep),
    });
  }

  async function putList(bytes: Uint8Array, hashes: string[]): Promise<BlobRef | null> {
    if (bytes.length === 0) return null;
    hashes.push(await blobs.put(bytes));
    return { hash: sha256(bytes), sizeBytes: bytes.length };
  }

  async function record(state: RunState, checkpoint: string | null): Promise<TrainingRecord | null> {
    if (checkpoint === null) return null;
    const hashes: string[] = [];
    const left = pool.takeNotConsumed();
    const consumed = concatBytes(...state.lastConsumed.map((id) => fromHex(id, 32)));
    const made: TrainingRecord = {
      consumed: await putList(consumed, hashes),
      optimizerStateHash: await optimizerStateHash(checkpoint),
      notConsumed: await putList(left.length === 0 ? new Uint8Array(0) : utf8(JSON.stringify(left)), hashes),
    };
    kept.push(hashes);
    const old = kept.length > staleness.keepPolicies ? kept.shift()! : [];
    for (const hash of old) await blobs.delete(hash);
    return made;
  }

  return {
    async publish(state, weights, checkpoint) {
      const { policyStep, parentRoot } = state;
      const made = await record(state, checkpoint);
      const wanted = admission(state);
      askedOfEach = shareOf(wanted);
      const published = await publisher.publish({ policyStep, parentRoot, weights, admission: wanted, record: made });
      if (published !== null) note(wanted);
    },
    async askForMore(state, isLate) {
      const now = admission(state);
      const announcing = isLate ? pool.announcingPeers(state.policyStep) : 0;
      const activePeers = announcing > 0 ? announcing : now.activePeers;
      // Nobody was asked for more slots than these, so what is announced beyond them makes nobody else work.
      const announced = pool.announcedAt(state.policyStep, askedOfEach);
      const wanted = { activePeers, wantGroups: announced + Math.max(grpo.promptsPerStep, now.wantGroups) };
      askedOfEach = Math.max(askedOfEach, shareOf(wanted));
      const isNews = wanted.wantGroups !== said.wantGroups || wanted.activePeers !== said.activePeers;
      if (!isNews && clock.nowMs() - saidMs < REPEAT_MS) return;
      await publisher.announce({ admission: wanted });
      note(wanted);
    },
    async close() {
      await publisher.announce({ admission: { wantGroups: 0, activePeers: 0 }, closing: true });
    },
  };
}
