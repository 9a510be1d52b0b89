// A liar that takes places and does nothing with them: connections, streams without a request, requests, answers that it does not read.
// Real hosts on 127.0.0.1; an honest node is served meanwhile.

import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import type { Connection, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { readFrame, writeFrame } from '../../node/network/frames.ts';
import { fromHex } from '../../node/protocol/bytes.ts';
import { PEERS_PROTOCOL } from '../../node/protocol/peer-list.ts';
import { encodeBlobRequest } from '../../node/protocol/streams.ts';
import { BLOB_PROTOCOL, HAVE_PROTOCOL, SYNC_PROTOCOL } from '../../node/protocol/topics.ts';
import { createSwarm, type Swarm, type TestNode } from '../node/network/support.ts';
import { until } from '../support/until.ts';

const PROTOCOLS = [BLOB_PROTOCOL, HAVE_PROTOCOL, SYNC_PROTOCOL, PEERS_PROTOCOL];
const MANY = { maxOutboundStreams: 1_000 };

describe('places held open', { timeout: 60_000 }, () => {
  let swarm: Swarm;
  afterEach(() => swarm.close());

  /** A node that serves, and others that joined it. */
  async function scene(liarCount: number): Promise<{ judge: TestNode; honest: TestNode; liars: TestNode[] }> {
    swarm = createSwarm();
    const judge = await swarm.node();
    const bootstrap = [judge.host.addresses()[0]!];
    const [honest, ...liars] = await Promise.all(
      Array.from({ length: 1 + liarCount }, () => swarm.node({ bootstrap })),
    );
    await until(() => judge.host.peers.connected().length > liarCount, 'all are connected');
    return { judge, honest: honest!, liars };
  }

  const open = (liar: TestNode, judge: TestNode, protocol: string): Promise<Stream> =>
    liar.host.libp2p.dialProtocol(judge.host.libp2p.peerId, protocol, MANY);

  it('by connections: a peer has three, its newest, and the others keep theirs', async () => {
    const { judge, honest, liars } = await scene(1);
    const [liar] = liars as [TestNode];
    const address = multiaddr(judge.host.addresses()[0]!);
    const opened: Connection[] = [];
    for (let i = 0; i < 12; i++) opened.push(await liar.host.libp2p.dial(address, { force: true }));
    const of = (node: TestNode): Connection[] => judge.host.libp2p.getConnections(node.host.libp2p.peerId);
    await until(() => of(liar).length === 3, 'three are left');
    await until(() => opened.filter(({ status }) => status === 'open').length === 3, 'the others are closed');
    assert.deepEqual(
      opened.map(({ status }) => status === 'open'),
      opened.map((_, i) => i >= opened.length - 3),
    );
    assert.equal(of(honest)[0]!.status, 'open');
  });

  it('by streams without a request: a peer has eight over all protocols, and they take no place of a request', async () => {
    const { judge, honest, liars } = await scene(8);
    const hash = await judge.store.put(new Uint8Array(1_000).fill(7));
    const held: Stream[] = [];
    const openSome = async (liar: TestNode): Promise<void> => {
      for (const protocol of PROTOCOLS) for (let i = 0; i < 4; i++) held.push(await open(liar, judge, protocol));
    };
    await Promise.all(liars.map(openSome));
    const bytes = await honest.blobs.range(judge.host.peerId, hash, 0, 1_000);
    assert.equal(bytes.length, 1_000);
    const left = (): number => held.filter(({ status }) => status === 'open').length;
    // Sooner than the ten seconds after which a request that does not come is given up.
    await until(() => left() <= 8 * liars.length, 'no more than eight of each are held', 5_000);
  });

  it('by requests: a peer has eight answered at once over all protocols, and is told to wait with more', async () => {
    const { judge, honest, liars } = await scene(1);
    const [liar] = liars as [TestNode];
    const protocols = ['/test/slow/1', '/test/slow/2'];
    const [busy, done] = [Uint8Array.of(0), Uint8Array.of(1)];
    let begun = 0;
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (const protocol of protocols) {
      const answer = async (_request: Uint8Array, peer: string): Promise<Uint8Array> => {
        if (peer === honest.host.peerId) return done;
        begun++;
        await released;
        return done;
      };
      await judge.requests.serve(protocol, answer, { maxRequestBytes: 8, busy });
    }
    const answers: number[] = [];
    const asks: Promise<void>[] = [];
    for (const protocol of [...protocols, ...protocols].flatMap((it) => new Array<string>(4).fill(it))) {
      const stream = await open(liar, judge, protocol);
      const signal = AbortSignal.timeout(20_000);
      const answer = Promise.all([readFrame(stream, 8, signal), writeFrame(stream, busy, signal)]);
      asks.push(answer.then(([bytes]) => void answers.push(bytes[0]!)));
    }
    await until(() => answers.length + begun === 16, 'all requests came');
    assert.deepEqual(answers, new Array<number>(8).fill(0));
    const options = { maxAnswerBytes: 8, timeoutMs: 10_000 };
    assert.deepEqual(await honest.requests.ask(judge.host.peerId, protocols[0]!, busy, options), done);
    release();
    await Promise.all(asks);
    assert.equal(answers.filter((answer) => answer === 1).length, 8);
  });

  it('by answers that are not read: eight keys with eight each keep nobody from an answer', async () => {
    const { judge, honest, liars } = await scene(8);
    const hash = await judge.store.put(new Uint8Array(2 ** 20).fill(7));
    const held = (await Promise.all(liars.map((liar) => askUnread(liar, judge, hash)))).flat();
    const bytes = await honest.blobs.range(judge.host.peerId, hash, 0, 2 ** 20);
    assert.equal(bytes.length, 2 ** 20);
    assert.deepEqual(await honest.blobs.have(judge.host.peerId, [hash]), [true]);
    assert.equal(held.filter(({ status }) => status === 'open').length, 64);
  });

  it('by answers on a connection that is gone: their places are free again', async () => {
    const { judge, liars } = await scene(1);
    const [liar] = liars as [TestNode];
    const hash = await judge.store.put(new Uint8Array(2 ** 20).fill(7));
    await askUnread(liar, judge, hash);
    const [connection] = judge.host.libp2p.getConnections(liar.host.libp2p.peerId);
    connection!.abort(new Error('the line is cut'));
    await until(() => liar.host.libp2p.getConnections().length === 0, 'the liar saw it');
    const bytes = await liar.blobs.range(judge.host.peerId, hash, 0, 1_000);
    assert.equal(bytes.length, 1_000);
  });

  /** As many whole ranges as a peer may ask for at once, and no credit for their bytes. Done when the first bytes of each are here. */
  async function askUnread(liar: TestNode, judge: TestNode, hash: string): Promise<Stream[]> {
    const request = encodeBlobRequest({ hash: fromHex(hash, 32), offset: 0, length: 2 ** 20 });
    const streams: Stream[] = [];
    for (let i = 0; i < 8; i++) {
      const stream = await open(liar, judge, BLOB_PROTOCOL);
      Object.assign(stream, { sendWindowUpdate: () => undefined });
      stream.pause();
      await writeFrame(stream, request, AbortSignal.timeout(10_000));
      streams.push(stream);
    }
    await until(() => streams.every(({ readBufferLength }) => readBufferLength > 0), 'the answers have begun');
    return streams;
  }

  it('by an honest node that asks for much at once: it waits by itself, and nothing is refused', async () => {
    const { judge, honest } = await scene(0);
    const hash = await judge.store.put(new Uint8Array(1_000).fill(7));
    const { read, has } = judge.store;
    Object.assign(judge.store, {
      read: (...of: Parameters<typeof read>) => pause().then(() => read(...of)),
      has: (hashHex: string) => pause().then(() => has(hashHex)),
    });
    const peer = judge.host.peerId;
    await Promise.all([
      ...Array.from({ length: 30 }, () => honest.blobs.range(peer, hash, 0, 1_000)),
      ...Array.from({ length: 10 }, () => honest.blobs.have(peer, [hash])),
    ]);
    const [row] = await judge.host.peers.table();
    assert.equal(row!.counts.requestsRefused, 0);
  });
});

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));
