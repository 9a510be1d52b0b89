// Peers tell each other whom they are connected to, so that a swarm that met at one address becomes a mesh.
// Source: spec/wire.md "Streams" has the framing; the exchange is ours (see node/protocol/peer-list.ts).
// Invariants: what a peer tells is only dialled, never believed; at most TARGET connections are sought; on a loopback swarm
// only loopback addresses are taken.

import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { errorText } from '../protocol/errors.ts';
import { peerIdOfString, peerIdStringOf } from '../protocol/keys.ts';
import {
  decodePeerList,
  encodePeerList,
  type ListedPeer,
  MAX_ADDRESSES,
  MAX_LISTED_PEERS,
  PEERS_ANSWER_MAX_BYTES,
  PEERS_PROTOCOL,
} from '../protocol/peer-list.ts';
import type { Clock, Logger, PeerIdString, Startable } from '../protocol/ports.ts';
import type { Host } from './host.ts';
import type { Requests } from './streams.ts';

/** Connections below which others are asked for more. */
const TARGET = 12;
const FIRST_ASK_MS = 1_000;
const MAX_ASK_MS = 60_000;
const ANSWER_TIMEOUT_MS = 10_000;
const NO_REQUEST: Uint8Array = new Uint8Array([0]);

export interface PeerExchangeComponents {
  readonly host: Host;
  readonly requests: Requests;
  readonly clock: Clock;
  readonly logger: Logger;
}

export function createPeerExchange(components: PeerExchangeComponents): Startable {
  const { host, requests, clock, logger } = components;
  const { libp2p } = host;
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();

  async function listed(peer: PeerIdString): Promise<ListedPeer | null> {
    const stored = await libp2p.peerStore.get(peerIdFromString(peer)).catch(() => null);
    const addresses = (stored?.addresses ?? []).map(({ multiaddr: address }) => address.toString());
    if (addresses.length === 0) return null;
    return { peerId: peerIdOfString(peer), addresses: addresses.slice(0, MAX_ADDRESSES) };
  }

  async function answer(_request: Uint8Array, asker: PeerIdString): Promise<Uint8Array> {
    const others = host.peers.connected().filter((peer) => peer !== asker);
    const list = await Promise.all(others.slice(0, MAX_LISTED_PEERS).map(listed));
    return encodePeerList(list.filter((each) => each !== null));
  }

  /** @returns whether a peer that was not connected is now */
  async function meet({ peerId, addresses }: ListedPeer): Promise<boolean> {
    const text = peerIdStringOf(peerId);
    if (text === host.peerId || host.standing.isBanned(text) || host.peers.connected().includes(text)) return false;
    const usable = addresses.filter((address) => !host.loopback || address.startsWith('/ip4/127.0.0.1/'));
    if (usable.length === 0) return false;
    try {
      await libp2p.peerStore.merge(peerIdFromString(text), { multiaddrs: usable.map((address) => multiaddr(address)) });
      await host.peers.connect(text, AbortSignal.any([stopping.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]));
      return true;
    } catch (error) {
      logger.debug({ peer: text, error: errorText(error) }, 'a peer that was named does not answer');
      return false;
    }
  }

  async function ask(peer: PeerIdString): Promise<boolean> {
    const options = { maxAnswerBytes: PEERS_ANSWER_MAX_BYTES, timeoutMs: ANSWER_TIMEOUT_MS, signal: stopping.signal };
    let met = false;
    for (const each of decodePeerList(await requests.ask(peer, PEERS_PROTOCOL, NO_REQUEST, options))) {
      if (stopping.signal.aborted || host.peers.connected().length >= TARGET) break;
      met = (await meet(each)) || met;
    }
    return met;
  }

  /** Asks one peer after another, less and less often while nobody new is named. */
  async function run(): Promise<void> {
    let waitMs = FIRST_ASK_MS;
    let turn = 0;
    while (!stopping.signal.aborted) {
      await clock.sleep(waitMs, stopping.signal);
      const peers = host.peers.connected();
      const peer = peers[turn++ % Math.max(1, peers.length)];
      if (peer === undefined || peers.length >= TARGET) continue;
      const met = await ask(peer).catch((error: unknown) => {
        logger.debug({ peer, error: errorText(error) }, 'a peer does not say whom it knows');
        return false;
      });
      waitMs = met ? FIRST_ASK_MS : Math.min(MAX_ASK_MS, waitMs * 1.5);
    }
  }

  return {
    async start() {
      await requests.serve(PEERS_PROTOCOL, answer, {
        maxRequestBytes: 1,
        busy: encodePeerList([]),
        rate: { perSecond: 2, burst: 20 },
      });
      running = run();
    },
    // The protocol goes with the host: taking it back would write to a peer store that a failed start has closed.
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
