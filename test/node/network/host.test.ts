// The host's life: addresses taken, peers that do not answer, bans, discovery, limits that loopback loosens.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { NetworkEvent } from '../../../node/network/events.ts';
import { createHost, type Host } from '../../../node/network/host.ts';
import { createNetworkMeter } from '../../../node/network/metrics.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import type { Records } from '../../../node/protocol/ports.ts';
import { until } from '../../support/until.ts';
import { all, clock, createMemoryRecords, createSwarm, createTestLogger, hastyClock, NETWORK } from './support.ts';

/** The part of kad-dht's inside that lets a member in. */
interface SlowTable {
  readonly routingTable: { readonly kb: { verify: (...contact: readonly unknown[]) => Promise<boolean> } };
}

describe('host', { timeout: 60_000 }, () => {
  const swarm = createSwarm();
  after(() => swarm.close());
  const init = {
    networkName: NETWORK,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [],
    mdns: false,
    dht: false,
    loopback: true,
    clock,
  };

  it('says that a port is taken, and by an address', async () => {
    const node = await swarm.node();
    const [address] = node.host.addresses();
    const listen = [address!.replace(/\/p2p\/.*/, '')];
    const port = /tcp\/(\d+)/.exec(address!)?.[1];
    const second = await createHost({ ...init, keyPair: createKeyPair(), logger: createTestLogger(), listen });
    await assert.rejects(second.start(), (error: { code: string; message: string; detail: { address: string } }) => {
      assert.equal(error.code, 'PORT_IN_USE');
      assert.equal(error.detail.address, `127.0.0.1:${port}`);
      return true;
    });
    await second.stop();
  });

  it('refuses addresses that are none, and outside addresses in a loopback swarm', async () => {
    const keyPair = createKeyPair();
    const logger = createTestLogger();
    const bad = createHost({ ...init, keyPair, logger, bootstrap: ['127.0.0.1:4001'] });
    await assert.rejects(bad, { code: 'BAD_ADDRESS' });
    const outside = createHost({ ...init, keyPair, logger, listen: ['/ip4/0.0.0.0/tcp/0'] });
    await assert.rejects(outside, { code: 'USAGE' });
    await assert.rejects(createHost({ ...init, keyPair, logger, networkName: '/' }), { code: 'USAGE' });
  });

  it('tries an unreachable bootstrap peer again and again, says so, and joins when it is there', async () => {
    // A port that was free a moment ago; nobody listens on it yet.
    const port = await freePort();
    const address = `/ip4/127.0.0.1/tcp/${port}`;
    const node = await swarm.node({ bootstrap: [address], settings: { clock: hastyClock } });
    const events: NetworkEvent[] = [];
    node.host.onEvent((event) => events.push(event));
    const unreachable = (): NetworkEvent[] => events.filter((event) => event.kind === 'unreachable');
    await until(() => unreachable().length >= 2, 'two attempts failed');
    const attempts = unreachable().map((it) => (it.kind === 'unreachable' ? [it.attempt, it.retryMs] : []));
    assert.ok(attempts.some(([, retryMs]) => retryMs === 2_000));
    assert.ok(unreachable().every((it) => it.text.startsWith(`cannot reach ${address}, retrying in `)));
    assert.ok(node.logger.lines.some((it) => it.level === 'warn' && it.context['address'] === address));
    const late = await swarm.node({ settings: { listen: [address] } });
    await until(() => events.some((event) => event.kind === 'joined'), 'it joined');
    assert.deepEqual(node.host.peers.connected(), [late.host.peerId]);
  });

  it('finds the others of a loopback swarm through one of them', async () => {
    const first = await swarm.node({ settings: { dht: true } });
    const bootstrap = [first.host.addresses()[0]!];
    const others = await Promise.all([1, 2, 3].map(() => swarm.node({ bootstrap, settings: { dht: true } })));
    await until(() => others.every((node) => node.host.peers.connected().length === 3), 'all know all', 20_000);
    const [b, c] = others;
    const rows = await b!.host.peers.table();
    assert.ok(rows.some((row) => row.peer === c!.host.peerId && row.addresses[0]!.startsWith('/ip4/127.0.0.1/tcp/')));
  });

  it('finds by the DHT alone who came at the same moment, before anybody was in a table', async (t) => {
    const start = async (bootstrap: readonly string[]): Promise<Host> => {
      const settings = { ...init, dht: true, dhtIntervalMs: 1_000, bootstrap, logger: createTestLogger() };
      const host = await createHost({ ...settings, keyPair: createKeyPair() });
      t.after(() => host.stop());
      await host.start();
      return host;
    };
    const centre = await start([]);
    // It is slow to take members into its table, as a busy machine is: their first questions are answered with nobody.
    const { kb } = (centre.libp2p.services.dht as SlowTable).routingTable;
    const verify = kb.verify;
    kb.verify = async (...contact) => {
      await clock.sleep(1_500);
      return verify(...contact);
    };
    const others = await Promise.all([1, 2, 3].map(() => start([centre.addresses()[0]!])));
    await until(() => others.every((host) => host.peers.connected().length === 3), 'all know all', 20_000);
  });

  it('is reached over WebSockets', async () => {
    const node = await swarm.node({ settings: { listen: ['/ip4/127.0.0.1/tcp/0/ws'] } });
    const [address] = node.host.addresses();
    assert.match(address!, /\/ws\/p2p\//);
    const other = await swarm.node({ bootstrap: [address!] });
    await until(() => other.host.peers.connected().includes(node.host.peerId), 'connected');
  });

  it('is reached through a relay when nobody can dial it, and bodies come that way', async () => {
    const relay = await swarm.node({ settings: { loopback: false, relay: 'server' } });
    const bootstrap = [relay.host.addresses()[0]!];
    const unreachable = { loopback: false, listen: [], relay: 'client' } as const;
    const hidden = await swarm.node({ bootstrap, settings: unreachable });
    const throughRelay = (): string | undefined => hidden.host.addresses().find((it) => it.includes('/p2p-circuit/'));
    await until(() => throughRelay() !== undefined, 'it has a place at the relay', 20_000);
    const body = new Uint8Array(600_000).fill(7);
    const hash = await hidden.store.put(body);
    const other = await swarm.node({ bootstrap: [throughRelay()!], settings: unreachable });
    await until(() => other.host.peers.connected().includes(hidden.host.peerId), 'connected through the relay');
    assert.deepEqual(await other.blobs.fetch(hash, { sizeBytes: body.length, timeoutMs: 20_000 }), body);
  });

  it('keeps a banned peer away until the ban ends', async () => {
    const node = await swarm.node();
    const bootstrap = [node.host.addresses()[0]!];
    const other = await swarm.node({ bootstrap, settings: { clock: hastyClock } });
    await until(() => node.host.peers.connected().length === 1, 'connected');
    const events: string[] = [];
    node.host.onEvent((event) => events.push(event.kind));
    node.host.standing.ban(other.host.peerId, 'a test', 1_200);
    await until(() => events.includes('disconnected'), 'it is disconnected');
    assert.equal(events.includes('banned'), true);
    assert.equal(node.host.standing.isBanned(other.host.peerId), true);
    await assert.rejects(node.host.peers.connect(other.host.peerId), { code: 'PEER_UNREACHABLE' });
    const asked = node.requests.ask(other.host.peerId, '/murmuration/have/1', new Uint8Array(1), {
      maxAnswerBytes: 1,
      timeoutMs: 1_000,
    });
    await assert.rejects(asked, { code: 'REQUEST_REFUSED' });
    await until(() => node.host.peers.connected().length === 1, 'it is back after the ban');
    assert.equal(node.host.standing.isBanned(other.host.peerId), false);
  });

  it('keeps a banned peer away over a restart, and takes up no ban that is over', async () => {
    const [banned, forgiven] = await Promise.all([swarm.node(), swarm.node()]);
    const records = memoryRecordsByName();
    const keyPair = createKeyPair();
    const first = await swarm.node({ keyPair, records });
    first.host.standing.ban(banned.host.peerId, 'a test');
    first.host.standing.ban(forgiven.host.peerId, 'a short one', 1);
    await first.stop();
    const bootstrap = [banned, forgiven].map(({ host }) => host.addresses()[0]!);
    const again = await swarm.node({ keyPair, records, bootstrap });
    assert.equal(again.host.standing.banned()[0]?.why, 'a test');
    await until(() => again.host.peers.connected().length === 1, 'connected');
    assert.deepEqual(again.host.peers.connected(), [forgiven.host.peerId]);
    assert.deepEqual(await keysOf(records('bans')), [banned.host.peerId]);
    await assert.rejects(again.host.peers.connect(banned.host.peerId), { code: 'PEER_UNREACHABLE' });
  });

  it('knows its peers after a restart', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'murmuration-peers-'));
    try {
      const keyPair = createKeyPair();
      const settings = { datastoreDir: join(dir, 'peers') };
      const other = await swarm.node();
      const first = await swarm.node({ keyPair, settings, bootstrap: [other.host.addresses()[0]!] });
      await until(() => first.host.peers.connected().length === 1, 'connected');
      // The peer store learns the addresses by identify.
      await new Promise((resolve) => setTimeout(resolve, 200));
      await assert.rejects(createHost({ ...init, ...settings, keyPair, logger: createTestLogger() }), {
        code: 'DATA_DIR_UNUSABLE',
      });
      await first.stop();
      const again = await swarm.node({ keyPair, settings });
      await until(() => again.host.peers.connected().length === 1, 'connected without being told');
      await again.stop();
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('measures how late its event loop is, and how much of that is its own doing', async () => {
    const meter = createNetworkMeter({});
    const settle = () => new Promise((resolve) => setTimeout(resolve, 30));
    const busyMs = (): number => process.threadCpuUsage().user / 1000;
    await meter.start();
    assert.equal(meter.read().eventLoopDelayMs.max, 0);
    await settle();
    const end = busyMs() + 80;
    while (busyMs() < end);
    await settle();
    const busy = meter.read();
    assert.ok(busy.eventLoopDelayMs.max >= 60 && busy.blockedMs.max >= 60, JSON.stringify(busy));
    assert.ok(busy.blockedMs.max <= busy.eventLoopDelayMs.max);
    meter.reset();
    await settle();
    // The thread is held up but computes nothing, as when others have the processor.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    await settle();
    const waited = meter.read();
    assert.ok(waited.eventLoopDelayMs.max >= 150, JSON.stringify(waited));
    assert.ok(waited.blockedMs.max < 100, JSON.stringify(waited));
    await meter.stop();
  });
});

/** Records that outlive their node. */
function memoryRecordsByName(): (name: string) => Records {
  const stores = new Map<string, Records>();
  return (name) => {
    const records = stores.get(name) ?? createMemoryRecords();
    stores.set(name, records);
    return records;
  };
}

async function keysOf(records: Records): Promise<string[]> {
  return (await all(records.entries())).map(([key]) => key);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
