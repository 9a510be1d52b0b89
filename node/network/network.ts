// The whole of node/network in one part: host, inbox, blobs, sync, meter, made and started in the right order.
// Source: design.md "Layout". Roles that need less make the parts by themselves.
// Invariant: stream protocols are registered before the first connection, and the inbox listens before sync asks.

import type { BlobFetcher, BlobStore, Records, Startable } from '../protocol/ports.ts';
import { createBans } from './bans.ts';
import { type BlobServerInit, createBlobServer } from './blob-server.ts';
import { createBlobFetcher } from './blobs.ts';
import { createHost, type Host, type HostInit } from './host.ts';
import { createInbox, type InboxInit, type NetworkInbox } from './inbox.ts';
import { createNetworkMeter, type NetworkMeter } from './metrics.ts';
import { createPeerExchange } from './peer-exchange.ts';
import { createRequests, type Requests } from './streams.ts';
import { createSync, type Sync } from './sync.ts';
import { createSyncServer, type SyncServerInit } from './sync-server.ts';

export interface NetworkInit extends HostInit, InboxInit, Partial<SyncServerInit>, BlobServerInit {}

export interface Network extends Startable {
  readonly host: Host;
  readonly inbox: NetworkInbox;
  readonly blobs: BlobFetcher;
  readonly requests: Requests;
  readonly sync: Sync;
  readonly meter: NetworkMeter;
}

/**
 * A node's network, not started.
 * @param components.records opens records by name (the inbox keeps accepted messages there)
 * @param components.blobs what we serve, and where fetched blobs go
 * @throws {SwarmError} BAD_ADDRESS, USAGE, DATA_DIR_UNUSABLE; from start(): PORT_IN_USE, BAD_ADDRESS
 */
export async function createNetwork(
  components: { readonly records: (name: string) => Records; readonly blobs: BlobStore },
  init: NetworkInit,
): Promise<Network> {
  const { clock, logger, keyPair } = init;
  const { blobs, records } = components;
  const host = await createHost(init);
  const requests = createRequests({ host, clock, logger });
  const inbox = createInbox({ host, records, keyPair, clock, logger }, init);
  const sync = createSync({ host, requests, inbox, clock, logger });
  const meter = createNetworkMeter({ host });
  const bans = createBans({ standing: host.standing, records: records('bans'), clock, logger });
  const exchange = createPeerExchange({ host, requests, clock, logger });
  const servers = [
    createBlobServer({ host, requests, blobs, clock }, init),
    createSyncServer({ requests, inbox, clock }, { floorStep: init.floorStep ?? (() => null) }),
  ];
  return {
    host,
    inbox,
    blobs: createBlobFetcher({ host, requests, blobs, clock, logger }),
    requests,
    sync,
    meter,
    async start() {
      await bans.start();
      for (const server of servers) await server.start();
      await sync.start();
      await exchange.start();
      await host.start();
      await inbox.start();
      await meter.start();
    },
    async stop() {
      await exchange.stop();
      await sync.stop();
      await inbox.stop();
      await host.stop();
      await meter.stop();
      await bans.stop();
    },
  };
}
