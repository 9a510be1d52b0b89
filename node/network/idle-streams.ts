// Streams that a peer opened and on which its request has not come: held apart from requests that are being answered, so
// that whoever opens many and says nothing loses its own and takes nobody's place.
// Invariant: when there are too many, the oldest of the peer that holds most is closed.

import type { Stream } from '@libp2p/interface';
import type { PeerIdString } from '../protocol/ports.ts';

type Closable = Pick<Stream, 'abort'>;

export interface IdleStreams {
  /** holds a stream until it leaves; closes another one when there are too many */
  enter(peer: PeerIdString, stream: Closable): void;
  /** the request has come, or the stream ended */
  leave(peer: PeerIdString, stream: Closable): void;
}

/** @param init.maxPerPeer of one peer, over all protocols @param init.max of all peers */
export function createIdleStreams(init: { readonly maxPerPeer: number; readonly max: number }): IdleStreams {
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
    oldest!.abort(new Error('too many streams without a request'));
  }

  return {
    enter(peer, stream) {
      if (of(peer) >= init.maxPerPeer) closeOldestOf(peer);
      else if (total() >= init.max) closeOldestOf(whoHoldsMost());
      held.set(peer, (held.get(peer) ?? new Set()).add(stream));
    },
    leave,
  };
}
