// The node on the network: one libp2p host with gossip, streams, discovery, and what our peers have earned.
// Source: design.md "libp2p 3, under the name that the users know".
// Invariants: register stream protocols before start(); a loopback host binds 127.0.0.1 only and uses no mDNS;
// stop() leaves no listener, timer or open datastore of ours.

import type { GossipSub } from '@chainsafe/libp2p-gossipsub';
import { LevelDatastore } from 'datastore-level';
import { createLibp2p, type Libp2p } from 'libp2p';
import { errorText, SwarmError } from '../protocol/errors.ts';
import type { KeyPair } from '../protocol/keys.ts';
import { networkIdOf } from '../protocol/network-id.ts';
import type { Clock, Logger, PeerIdString, Startable } from '../protocol/ports.ts';
import { connectionToClose } from './connection-limits.ts';
import { createConnector, parseAddress } from './connector.ts';
import { createEvents, type NetworkEvent } from './events.ts';
import { libp2pOptions, type Services } from './libp2p-options.ts';
import { createPeers, type Peers } from './peers.ts';
import { createStanding, type Standing } from './standing.ts';

/** A question to each known member, at most 20: cheap enough to be asked this often. */
const DHT_INTERVAL_MS = 15_000;

export interface HostInit {
  readonly keyPair: KeyPair;
  readonly networkName: string;
  /** multiaddrs; tcp and ws. Port 0 takes a free one */
  readonly listen: readonly string[];
  /** addresses told to others instead of those found */
  readonly announce?: readonly string[];
  /** multiaddrs that are dialled until they answer, with or without /p2p/… */
  readonly bootstrap: readonly string[];
  readonly mdns: boolean;
  readonly dht: boolean;
  /** how often the DHT is asked who is near. Default 15 000 */
  readonly dhtIntervalMs?: number;
  /** a swarm on 127.0.0.1 alone: limits on peers of one address loosened, no mDNS, no relays */
  readonly loopback: boolean;
  /** client: may be reached through relays; server: relays for others. Default client */
  readonly relay?: 'none' | 'client' | 'server';
  /** folder of the peer store; without it peers are forgotten */
  readonly datastoreDir?: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** connections below which known peers are dialled. Default 12 */
  readonly targetPeers?: number;
  /** what `murmur peers` of others shows of us */
  readonly agent?: string;
}

/** @throws from start(): PORT_IN_USE, BAD_ADDRESS */
export interface Host extends Startable {
  readonly peerId: PeerIdString;
  readonly networkName: string;
  readonly loopback: boolean;
  readonly libp2p: Libp2p<Services>;
  readonly gossip: GossipSub;
  readonly peers: Peers;
  readonly standing: Standing;
  /** where we can be reached, ending in /p2p/<our id> */
  addresses(): readonly string[];
  onEvent(listener: (event: NetworkEvent) => void): () => void;
}

/**
 * A host, not started: create services on it, then start().
 * @throws {SwarmError} BAD_ADDRESS, USAGE (network name, loopback with other addresses), DATA_DIR_UNUSABLE
 */
export async function createHost(init: HostInit): Promise<Host> {
  checkInit(init);
  const { logger, clock } = init;
  const datastore = await openDatastore(init.datastoreDir);
  const standing = createStanding({ clock, logger });
  const events = createEvents<NetworkEvent>({ logger });
  const libp2p = await createLibp2p<Services>(
    libp2pOptions(
      { standing, datastore },
      {
        keyPair: init.keyPair,
        networkName: init.networkName,
        listen: init.listen,
        announce: init.announce ?? [],
        mdns: init.mdns,
        dht: init.dht,
        dhtIntervalMs: init.dhtIntervalMs ?? DHT_INTERVAL_MS,
        loopback: init.loopback,
        relay: init.relay ?? 'client',
        agent: init.agent ?? 'murmuration',
      },
    ),
  );
  const connector = createConnector(
    { libp2p, standing, clock, logger, events },
    { bootstrap: init.bootstrap, targetPeers: init.targetPeers ?? 12 },
  );
  standing.onBan(({ peer, why }) => {
    for (const connection of libp2p.getConnections()) {
      if (connection.remotePeer.toString() === peer) connection.abort(new Error('banned'));
    }
    events.emit({ kind: 'banned', peer, why, text: `peer ${peer} is banned: ${why}` });
  });
  libp2p.addEventListener('connection:open', ({ detail: opened }) => {
    const others = libp2p.getConnections().filter((connection) => connection !== opened);
    const excess = connectionToClose(opened, others);
    if (excess === null) return;
    logger.debug({ peer: opened.remotePeer.toString(), address: excess.remoteAddr.toString() }, 'too many connections');
    excess.abort(new Error('too many connections'));
  });
  libp2p.addEventListener('peer:connect', ({ detail }) => {
    const peer = detail.toString();
    events.emit({ kind: 'connected', peer, text: `peer ${peer} connected` });
  });
  libp2p.addEventListener('peer:disconnect', ({ detail }) => {
    const peer = detail.toString();
    events.emit({ kind: 'disconnected', peer, text: `peer ${peer} left` });
  });
  return {
    peerId: init.keyPair.peerIdString,
    networkName: init.networkName,
    loopback: init.loopback,
    libp2p,
    gossip: libp2p.services.pubsub,
    peers: createPeers({ libp2p, standing }),
    standing,
    addresses: () => libp2p.getMultiaddrs().map(String),
    onEvent: events.on,
    async start() {
      try {
        await libp2p.start();
      } catch (error) {
        await datastore?.close();
        throw listenError(error, init.listen);
      }
      await connector.start();
    },
    async stop() {
      await connector.stop();
      await libp2p.stop();
      await datastore?.close();
    },
  };
}

function checkInit(init: HostInit): void {
  networkIdOf(init.networkName);
  for (const text of [...init.listen, ...(init.announce ?? []), ...init.bootstrap]) parseAddress(text);
  const outside = [...init.listen, ...init.bootstrap].find((text) => !/^\/(ip4\/127\.|ip6\/::1\/)/.test(text));
  if (init.loopback && outside !== undefined) {
    throw new SwarmError('USAGE', `a loopback swarm uses 127.0.0.1 only, not ${outside}`, { address: outside });
  }
}

async function openDatastore(dir: string | undefined): Promise<LevelDatastore | undefined> {
  if (dir === undefined) return undefined;
  const datastore = new LevelDatastore(dir);
  try {
    await datastore.open();
  } catch (cause) {
    const message = `cannot open the peer store in ${dir}; another process may be using it, or the folder is not writable`;
    throw new SwarmError('DATA_DIR_UNUSABLE', message, { dir }, { cause });
  }
  return datastore;
}

/** The listen error in our words. libp2p gives the causes as text only. */
function listenError(error: unknown, listen: readonly string[]): unknown {
  const text = errorText(error);
  if (text.includes('EADDRINUSE')) {
    const address = /EADDRINUSE[^\n]*?([\w.:]+:\d+)/.exec(text)?.[1] ?? listen.join(', ');
    return new SwarmError(
      'PORT_IN_USE',
      `another process listens on ${address}; choose another port (0 takes a free one) or stop that process`,
      { address },
      { cause: error },
    );
  }
  if (/EADDRNOTAVAIL|EACCES|UnsupportedListenAddress/.test(text)) {
    const addresses = listen.join(', ');
    const message = `cannot listen on ${addresses}; use an address of this machine and a port ≥ 1024`;
    return new SwarmError('BAD_ADDRESS', message, { addresses }, { cause: error });
  }
  return error;
}
