// Which groups a trainer may count on when it asks for more. Announcing costs nothing, so of what nobody has found good yet only
// active peers' groups count, and of each peer no more than it was asked for. Source: spec/wire.md "Enough, not too much".

export interface CountedGroup {
  readonly peer: string;
  /** found good, or trained on already */
  readonly isGood: boolean;
}

/** Whether a peer is active; null while none is. */
export type IsActive = ((peer: string) => boolean) | null;

/** How many of these groups may be counted on: everybody's while no peer is active. */
export function countedOn(groups: readonly CountedGroup[], isActive: IsActive, mostEach: number): number {
  const hopedFor = groups.filter(({ peer, isGood }) => !isGood && (isActive === null || isActive(peer)));
  const counts = countEach(hopedFor.map(({ peer }) => peer));
  return groups.filter(({ isGood }) => isGood).length + sum(counts.values(), mostEach);
}

/** How many groups these peers brought, one entry a group; while no peer is active: as many as the busiest. */
export function announcedBy(peers: readonly string[], isActive: IsActive, mostEach: number): number {
  const counts = countEach(isActive === null ? peers : peers.filter(isActive));
  return isActive === null ? Math.min(mostEach, Math.max(0, ...counts.values())) : sum(counts.values(), mostEach);
}

function countEach(peers: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const peer of peers) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  return counts;
}

function sum(counts: Iterable<number>, mostEach: number): number {
  let total = 0;
  for (const count of counts) total += Math.min(mostEach, count);
  return total;
}
