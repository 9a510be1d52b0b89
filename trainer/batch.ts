// Which of the waiting groups make the next batch. Source: spec/grpo.md "Exactly once", "Staleness".
// Invariant: a pure function of the trainer's policy root and the set of groups: neither arrival nor anything that a peer
// can grind (group ids, bodies) changes the order.

import { sha256, toHex } from '../node/protocol/bytes.ts';

/** What the choice looks at. */
export interface Candidate {
  /** hex */
  readonly groupId: string;
  readonly peer: string;
  readonly policyStep: number;
  /** 32 bytes */
  readonly groupSeed: Uint8Array;
}

export interface BatchRule {
  /** groups to choose at most */
  readonly count: number;
  /** groups of a full batch, which shares are of */
  readonly batchSize: number;
  /** hex, of the trainer's step */
  readonly policyRoot: string;
  /** largest share of a batch from one key while others wait */
  readonly maxKeyShare: number;
  /** groups each key has in this batch already */
  readonly taken?: ReadonlyMap<string, number>;
}

/** maxKeyShare holds from this many keys on (spec/grpo.md). */
const MIN_KEYS_FOR_SHARE = 8;

/** Steps behind the trainer. */
export function lagOf(group: Pick<Candidate, 'policyStep'>, policyStep: number): number {
  return policyStep - group.policyStep;
}

/** In order of H(policyRoot of the trainer's step ‖ group seed). */
export function inBatchOrder<T extends Candidate>(groups: readonly T[], policyRoot: string): readonly T[] {
  const root = Buffer.from(policyRoot, 'hex');
  return groups
    .map((group) => ({ group, place: toHex(sha256(root, group.groupSeed)) }))
    .sort((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : 0))
    .map(({ group }) => group);
}

/** The next groups to train on; a key over its share comes only after all others. */
export function chooseBatch<T extends Candidate>(groups: readonly T[], rule: BatchRule): readonly T[] {
  const ordered = inBatchOrder(groups, rule.policyRoot);
  const taken = new Map(rule.taken);
  const keys = new Set([...taken.keys(), ...groups.map(({ peer }) => peer)]);
  const most =
    keys.size < MIN_KEYS_FOR_SHARE
      ? Number.POSITIVE_INFINITY
      : Math.max(1, Math.floor(rule.maxKeyShare * rule.batchSize));
  const chosen: T[] = [];
  const over: T[] = [];
  for (const group of ordered) {
    if (chosen.length >= rule.count) break;
    const already = taken.get(group.peer) ?? 0;
    if (already >= most) {
      over.push(group);
      continue;
    }
    taken.set(group.peer, already + 1);
    chosen.push(group);
  }
  return [...chosen, ...over.slice(0, rule.count - chosen.length)];
}

export function countByPeer(groups: Iterable<{ readonly peer: string }>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { peer } of groups) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  return counts;
}
