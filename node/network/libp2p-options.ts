// Which libp2p this is: transports, discovery, gossipsub, limits. One function from our settings to libp2p's.
// Source: design.md "libp2p 3, under the name that the users know"; gossipsub 1.1 spec for the score's parts.
// Invariant: limits on peers of one address are loosened for a loopback swarm only.

import { type GossipSub, gossipsub, type UnsignedMessage } from '@chainsafe/libp2p-gossipsub';
import { autoNAT } from '@libp2p/autonat';
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { dcutr } from '@libp2p/dcutr';
import { type Identify, type IdentifyPush, identify, identifyPush } from '@libp2p/identify';
import type { ConnectionGater } from '@libp2p/interface';
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht';
import { mdns } from '@libp2p/mdns';
import { noise } from '@libp2p/noise';
import { type Ping, ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { webSockets } from '@libp2p/websockets';
import { yamux } from '@libp2p/yamux';
import type { LevelDatastore } from 'datastore-level';
import type { Libp2pOptions } from 'libp2p';
import { sha256, toHex } from '../protocol/bytes.ts';
import type { KeyPair } from '../protocol/keys.ts';
import { ANNOUNCEMENT_MAX_BYTES } from '../protocol/limits.ts';
import { BAN_POINTS, type Standing } from './standing.ts';

/** Ping streams on one connection at once; one of our own and one of libp2p's monitor collide at its default of 1. */
const MAX_PINGS = 8;

export interface Services extends Record<string, unknown> {
  identify: Identify;
  identifyPush: IdentifyPush;
  ping: Ping;
  pubsub: GossipSub;
  dht?: unknown;
  autonat?: unknown;
  dcutr?: unknown;
  relay?: unknown;
}

export interface Libp2pSettings {
  readonly keyPair: KeyPair;
  readonly networkName: string;
  readonly listen: readonly string[];
  readonly announce: readonly string[];
  readonly mdns: boolean;
  readonly dht: boolean;
  readonly dhtIntervalMs: number;
  readonly loopback: boolean;
  readonly relay: 'none' | 'client' | 'server';
  readonly agent: string;
}

/** Connections beyond which libp2p closes the least useful. */
const MAX_CONNECTIONS = 128;
/** A node that computes may answer late; its peers wait this long before they call it dead. */
const PING_PATIENCE_MS = 20_000;
const PING_INTERVAL_MS = 20_000;

/**
 * Settings for createLibp2p, not started.
 * @param standing its bans are the connection gater, its points part of gossipsub's score
 */
export function libp2pOptions(
  components: { readonly standing: Standing; readonly datastore: LevelDatastore | undefined },
  settings: Libp2pSettings,
): Libp2pOptions<Services> {
  const { keyPair, loopback } = settings;
  const usesRelays = settings.relay !== 'none' && !loopback;
  return {
    start: false,
    privateKey: privateKeyFromRaw(keyPair.secretKey),
    nodeInfo: { userAgent: settings.agent },
    addresses: {
      // A peer that nobody can dial is reached through a relay that it is connected to, once it has a place there.
      listen: [...settings.listen, ...(usesRelays && settings.relay === 'client' ? ['/p2p-circuit'] : [])],
      announce: [...settings.announce],
    },
    transports: [tcp(), webSockets(), ...(usesRelays ? [circuitRelayTransport()] : [])],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    peerDiscovery: settings.mdns && !loopback ? [mdns({ serviceTag: mdnsTag(settings.networkName) })] : [],
    connectionGater: gaterOf(components.standing),
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      ...(loopback ? { inboundConnectionThreshold: 1_000, maxIncomingPendingConnections: 200 } : {}),
    },
    connectionMonitor: {
      pingInterval: PING_INTERVAL_MS,
      pingTimeout: { minTimeout: PING_PATIENCE_MS, maxTimeout: 3 * PING_PATIENCE_MS },
    },
    ...(components.datastore === undefined ? {} : { datastore: components.datastore }),
    services: servicesOf(components.standing, settings, usesRelays),
  };
}

type ServiceFactories = NonNullable<Libp2pOptions<Services>['services']>;

function servicesOf(standing: Standing, settings: Libp2pSettings, usesRelays: boolean): ServiceFactories {
  const { loopback, networkName } = settings;
  const services: ServiceFactories = {
    identify: identify(),
    identifyPush: identifyPush(),
    // libp2p's connection monitor pings on the same protocol as our own questions "do you answer?": room for both.
    ping: ping({ maxOutboundStreams: MAX_PINGS, maxInboundStreams: MAX_PINGS }),
    pubsub: gossipOf(standing, loopback),
  };
  if (settings.dht) {
    services['dht'] = kadDHT({
      protocol: `/murmuration/${networkName}/kad/1.0.0`,
      // Everybody serves, and private addresses are told: most swarms begin on one machine or one LAN, where a DHT of
      // public addresses knows nobody. A dial that ends at a stranger fails in the handshake.
      clientMode: false,
      peerInfoMapper: passthroughMapper,
      // Members that arrive together ask the one they all know before it has any of them in its table (it pings each
      // first), and by default ask again after five minutes: until then the swarm is a star.
      querySelfInterval: settings.dhtIntervalMs,
    });
  }
  if (usesRelays) {
    services['autonat'] = autoNAT();
    services['dcutr'] = dcutr();
    if (settings.relay === 'server') {
      // Not for hole punching alone: what is relayed is the swarm's own gossip and bodies, without libp2p's 128 KiB limit.
      services['relay'] = circuitRelayServer({ reservations: { applyDefaultLimit: false } });
    }
  }
  return services;
}

/** mDNS service of one network, so that networks on one LAN do not meet. */
function mdnsTag(networkName: string): string {
  return `_murmuration-${toHex(sha256(networkName)).slice(0, 12)}._udp.local`;
}

function gossipOf(standing: Standing, loopback: boolean): ServiceFactories['pubsub'] {
  return gossipsub({
    globalSignaturePolicy: 'StrictNoSign',
    msgIdFn: (message) => sha256((message as UnsignedMessage).data),
    fallbackToFloodsub: false,
    emitSelf: false,
    // Ours go to every peer of the topic at once: a mesh that is still forming loses nothing.
    floodPublish: true,
    // A message that found nobody must not count as seen, so that it can be published again (gossip.ts).
    allowPublishToZeroTopicPeers: false,
    ignoreDuplicatePublishError: true,
    canRelayMessage: false,
    doPX: false,
    maxInboundDataLength: 4 * ANNOUNCEMENT_MAX_BYTES,
    maxOutboundBufferSize: 16 * 1024 * 1024,
    scoreParams: {
      appSpecificScore: (peer) => appScore(standing.points(peer)),
      appSpecificWeight: 1,
      behaviourPenaltyThreshold: 6,
      behaviourPenaltyDecay: 0.5,
      ...(loopback ? { IPColocationFactorWeight: 0 } : {}),
    },
  });
}

/** A few offences may be bad luck and cost no place in the mesh. */
function appScore(points: number): number {
  return points < 0.3 * BAN_POINTS ? 0 : -points;
}

function gaterOf(standing: Standing): ConnectionGater {
  return {
    denyDialPeer: (peer) => standing.isBanned(peer.toString()),
    denyInboundEncryptedConnection: (peer) => standing.isBanned(peer.toString()),
    denyOutboundEncryptedConnection: (peer) => standing.isBanned(peer.toString()),
    denyInboundRelayedConnection: (_relay, peer) => standing.isBanned(peer.toString()),
    denyInboundRelayReservation: (peer) => standing.isBanned(peer.toString()),
  };
}
