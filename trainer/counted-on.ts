// Which groups a trainer may count on when it asks for more. Announcing costs nothing, so of what nobody has found good yet only
// active peers' groups count, and of each peer no more than it was asked for. Source: spec/wire.md "Enough, not too much".

import { countByPeer } from './batch.ts';

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
  const counts = countByPeer(hopedFor);
  return groups.filter(({ isGood }) => isGood).length + sumCapped(counts.values(), mostEach);
}

/** How many of these groups count as announced: those of active peers; while no peer is active, as many as the busiest has. */
export function announcedBy(
  groups: readonly { readonly peer: string }[],
  isActive: IsActive,
  mostEach: number,
): number {
  if (isActive === null) return Math.min(mostEach, Math.max(0, ...countByPeer(groups).values()));
  return sumCapped(countByPeer(groups.filter(({ peer }) => isActive(peer))).values(), mostEach);
}

function sumCapped(counts: Iterable<number>, mostEach: number): number {
  let total = 0;
  for (const count of counts) total += Math.min(mostEach, count);
  return total;
}
