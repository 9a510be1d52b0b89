// Who we are connected to, for `murmur peers` (all of it with --json): addresses, latency, protocols, traffic, penalty points.
// Source: libp2p connections and peer store; latency is the connection monitor's last ping.

import { peerIdFromString } from '@libp2p/peer-id';
import type { Libp2p } from 'libp2p';
import { SwarmError } from '../protocol/errors.ts';
import type { PeerIdString } from '../protocol/ports.ts';
import type { Services } from './libp2p-options.ts';
import type { Standing } from './standing.ts';

/** What is counted for each peer. */
export type PeerCount =
  | 'messagesAccepted'
  | 'messagesIgnored'
  | 'messagesRejected'
  | 'bytesServed'
  | 'bytesFetched'
  | 'requestsRefused';

export interface PeerRow {
  readonly peer: PeerIdString;
  readonly addresses: readonly string[];
  readonly direction: 'inbound' | 'outbound';
  readonly connectedSinceMs: number;
  /** null until the first ping came back */
  readonly latencyMs: number | null;
  readonly agent: string | null;
  readonly protocols: readonly string[];
  readonly penaltyPoints: number;
  readonly counts: Readonly<Record<PeerCount, number>>;
}

export interface Peers {
  table(): Promise<readonly PeerRow[]>;
  connected(): readonly PeerIdString[];
  /** connects to a peer by its id, from known addresses or the DHT. @throws PEER_UNREACHABLE */
  connect(peer: PeerIdString, signal?: AbortSignal): Promise<void>;
  count(peer: PeerIdString, what: PeerCount, amount?: number): void;
  readonly standing: Standing;
}

const MAX_COUNTED_PEERS = 1024;

function noCounts(): Record<PeerCount, number> {
  return {
    messagesAccepted: 0,
    messagesIgnored: 0,
    messagesRejected: 0,
    bytesServed: 0,
    bytesFetched: 0,
    requestsRefused: 0,
  };
}

/** The table of our peers; counts are kept for the last 1 024 of them. */
export function createPeers(components: { readonly libp2p: Libp2p<Services>; readonly standing: Standing }): Peers {
  const { libp2p, standing } = components;
  const counts = new Map<PeerIdString, Record<PeerCount, number>>();

  async function row(peer: PeerIdString): Promise<PeerRow | null> {
    const id = peerIdFromString(peer);
    const connections = libp2p.getConnections(id);
    const first = connections[0];
    if (first === undefined) return null;
    const stored = await libp2p.peerStore.get(id).catch(() => null);
    const agent = stored?.metadata.get('AgentVersion');
    return {
      peer,
      addresses: connections.map((connection) => connection.remoteAddr.toString()),
      direction: first.direction,
      connectedSinceMs: first.timeline.open,
      latencyMs: first.rtt ?? null,
      agent: agent === undefined ? null : new TextDecoder().decode(agent).slice(0, 128),
      protocols: stored?.protocols ?? [],
      penaltyPoints: standing.points(peer),
      counts: counts.get(peer) ?? noCounts(),
    };
  }

  return {
    standing,
    connected: () => libp2p.getPeers().map(String),
    async table() {
      const rows = await Promise.all(libp2p.getPeers().map((peer) => row(peer.toString())));
      return rows.filter((it) => it !== null);
    },
    async connect(peer, signal) {
      const id = peerIdFromString(peer);
      if (libp2p.getConnections(id).length > 0) return;
      try {
        await libp2p.dial(id, signal === undefined ? {} : { signal });
      } catch (cause) {
        throw new SwarmError('PEER_UNREACHABLE', `cannot reach peer ${peer}`, { peer }, { cause });
      }
    },
    count(peer, what, amount = 1) {
      let mine = counts.get(peer);
      if (mine === undefined) {
        if (counts.size >= MAX_COUNTED_PEERS) counts.delete(counts.keys().next().value!);
        mine = noCounts();
        counts.set(peer, mine);
      }
      mine[what] += amount;
    },
  };
}
