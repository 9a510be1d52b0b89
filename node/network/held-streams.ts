// A bounded room for streams that wait for their peer: for its request, or until it has read our answer. Such streams take no
// place of requests that are worked on, so whoever opens many and does nothing loses its own and holds up nobody else.
// Invariant: when there are too many, the oldest of the peer that holds most is aborted.

import type { Stream } from '@libp2p/interface';
import type { PeerIdString } from '../protocol/ports.ts';

type Closable = Pick<Stream, 'abort'>;

export interface HeldStreams {
  /** whether a stream of this peer takes a place that is free, or one of a peer that holds at least two more */
  hasRoomFor(peer: PeerIdString): boolean;
  /** holds a stream until it leaves; aborts another one when there are too many */
  enter(peer: PeerIdString, stream: Closable): void;
  /** the peer did what was waited for, or the stream ended */
  leave(peer: PeerIdString, stream: Closable): void;
}

/** @param init.maxPerPeer of one peer, over all protocols @param init.max of all peers */
export function createHeldStreams(init: { readonly maxPerPeer: number; readonly max: number }): HeldStreams {
  /** each peer's, oldest first */
  const held = new Map<PeerIdString, Set<Closable>>();
  const of = (peer: PeerIdString): number => held.get(peer)?.size ?? 0;
  const total = (): number => [...held.values()].reduce((sum, { size }) => sum + size, 0);
  const whoHoldsMost = (): PeerIdString => [...held.keys()].reduce((most, peer) => (of(peer) > of(most) ? peer : most));

  function leave(peer: PeerIdString, stream: Closable): void {
    held.get(peer)?.delete(stream);
    if (of(peer) === 0) held.delete(peer);
  }

  function closeOldestOf(peer: PeerIdString): void {
    const [oldest] = held.get(peer)!;
    leave(peer, oldest!);
    oldest!.abort(new Error('this peer holds too many streams open'));
  }

  return {
    hasRoomFor(peer) {
      if (of(peer) >= init.maxPerPeer) return false;
      return total() < init.max || of(whoHoldsMost()) >= of(peer) + 2;
    },
    enter(peer, stream) {
      if (of(peer) >= init.maxPerPeer) closeOldestOf(peer);
      else if (total() >= init.max) closeOldestOf(whoHoldsMost());
      held.set(peer, (held.get(peer) ?? new Set()).add(stream));
    },
    leave,
  };
}
