// A liar on the wire: more messages than anybody reads, padded ones, streams and connections held open, bodies that drip.
// Real hosts on 127.0.0.1; an honest node is heard and served meanwhile.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, describe, it } from 'node:test';
import type { Stream } from '@libp2p/interface';
import { BAN_POINTS, PENALTY } from '../../node/network/standing.ts';
import { concatBytes, sha256, toHex } from '../../node/protocol/bytes.ts';
import { ACCEPT, ignore } from '../../node/protocol/check.ts';
import { sealEnvelope } from '../../node/protocol/envelope.ts';
import { createKeyPair } from '../../node/protocol/keys.ts';
import { networkIdOf } from '../../node/protocol/network-id.ts';
import type { StageZero } from '../../node/protocol/ports.ts';
import { BLOB_PROTOCOL } from '../../node/protocol/topics.ts';
import { all, createSwarm, groupPayload, RECIPE, type TestNode } from '../node/network/support.ts';
import { until } from '../support/until.ts';

/** The part of gossipsub that its types hide. */
interface RpcSender {
  sendRpc(peer: string, rpc: { subscriptions: []; messages: { topic: string; data: Uint8Array }[] }): boolean;
}

const NETWORK = networkIdOf('test');
const TOPIC = `/murmuration/test/${RECIPE}/groups/1`;

describe('a flood', { timeout: 60_000 }, () => {
  const swarm = createSwarm();
  after(() => swarm.close());

  /** A node that follows, and others that joined it. */
  async function scene(settings: object = {}): Promise<{ judge: TestNode; liar: TestNode; honest: TestNode }> {
    const judge = await swarm.node({ follow: [RECIPE], settings });
    const bootstrap = [judge.host.addresses()[0]!];
    const [liar, honest] = await Promise.all([swarm.node({ bootstrap }), swarm.node({ bootstrap })]);
    await until(
      () => [liar, honest].every(({ host }) => host.gossip.getSubscribers(TOPIC).length > 0),
      'all are subscribed',
    );
    return { judge, liar, honest };
  }

  it('of announcements by ever new keys: bounded by who carries them, and an honest one is heard', async () => {
    const carrierRate = { perSecond: 20, burst: 50 };
    const { judge, liar, honest } = await scene({ carrierRate });
    const heard: string[] = [];
    judge.inbox.on('group', ({ peerIdString }) => heard.push(peerIdString));
    for (let i = 0; i < 150; i++) {
      const bytes = sealEnvelope('group', groupPayload(i), createKeyPair(), NETWORK);
      await liar.host.gossip.publish(TOPIC, bytes);
    }
    await until(() => (judge.inbox.ignoredCounts()['RATE_LIMITED'] ?? 0) > 50, 'many were not looked at');
    await honest.inbox.publish('group', groupPayload(1_000), RECIPE);
    await until(() => heard.includes(honest.keyPair.peerIdString), 'the honest one is heard');
    assert.ok(heard.length < 100, `${heard.length} were taken in`);
  });

  it('of what nobody passes on who checks it: after a little of it its carrier is not looked at, and an honest one is heard', async () => {
    let looked = 0;
    const group: StageZero = ({ peerIdString }) => {
      if (peerIdString === honest.keyPair.peerIdString) return ACCEPT;
      looked++;
      return ignore('SIZE_MISMATCH');
    };
    const { judge, liar, honest } = await scene({ stageZero: { group } });
    const heard: string[] = [];
    judge.inbox.on('group', ({ peerIdString }) => heard.push(peerIdString));
    for (let i = 0; i < 400; i++) {
      await liar.host.gossip.publish(TOPIC, sealEnvelope('group', groupPayload(i), liar.keyPair, NETWORK));
    }
    await honest.inbox.publish('group', groupPayload(1_000), RECIPE);
    await until(() => heard.length === 1, 'the honest one is heard');
    await until(() => (judge.inbox.ignoredCounts()['RATE_LIMITED'] ?? 0) + looked === 400, 'all came');
    // 50 at once, and 20 more each second: the machine may be slow.
    assert.ok(looked < 200, `${looked} were looked at`);
  });

  it('of what only some ignore: an honest carrier of it is heard on', async () => {
    const group: StageZero = ({ peerIdString }) =>
      peerIdString === liar.keyPair.peerIdString ? ignore('QUARANTINED') : ACCEPT;
    const { judge, liar, honest } = await scene({ stageZero: { group } });
    const heard: string[] = [];
    judge.inbox.on('group', ({ peerIdString }) => heard.push(peerIdString));
    for (let i = 0; i < 100; i++) {
      await honest.host.gossip.publish(TOPIC, sealEnvelope('group', groupPayload(i), liar.keyPair, NETWORK));
    }
    await until(() => judge.inbox.ignoredCounts()['QUARANTINED'] === 100, 'all were looked at');
    await honest.inbox.publish('group', groupPayload(1_000), RECIPE);
    await until(() => heard.length === 1, 'its own is heard');
  });

  it('of forgeries in one frame: what is left when its carrier is banned is not looked at', async () => {
    const { judge, liar } = await scene();
    const messages = Array.from({ length: 100 }, (_, i) => ({ topic: TOPIC, data: new Uint8Array(200).fill(i + 1) }));
    (liar.host.gossip as unknown as RpcSender).sendRpc(judge.host.peerId, { subscriptions: [], messages });
    await until(() => judge.host.standing.isBanned(liar.host.peerId), 'the liar is banned');
    await until(() => (judge.inbox.ignoredCounts()['RATE_LIMITED'] ?? 0) > 0, 'the others were passed over');
    const { MALFORMED: looked = 0 } = judge.inbox.ignoredCounts();
    // Points fade meanwhile: one more than in no time.
    assert.ok(looked <= BAN_POINTS / PENALTY['malformed message'] + 1, `${looked} were looked at`);
  });

  it('of announcements by one key, passed on by an honest peer: the key is bounded, its carrier pays nothing', async () => {
    const { judge, liar, honest } = await scene({ signerRate: { perSecond: 1, burst: 10 } });
    for (let i = 0; i < 60; i++) {
      const bytes = sealEnvelope('group', groupPayload(i), liar.keyPair, NETWORK);
      await honest.host.gossip.publish(TOPIC, bytes);
    }
    await until(() => (judge.inbox.ignoredCounts()['RATE_LIMITED'] ?? 0) > 30, 'most were refused');
    assert.ok((await all(judge.inbox.stored('group', RECIPE))).length < 30);
    assert.equal(judge.host.standing.points(honest.host.peerId), 0);
  });

  it('of padding: a message of thousands of unknown fields is refused before they are read, and bans', async () => {
    const { judge, liar } = await scene();
    const padding = new Uint8Array(60_000);
    for (let i = 0; i < padding.length; i += 2) padding[i] = 0x60;
    for (let i = 0; i < 8; i++) {
      const payload = concatBytes(groupPayload(i), padding);
      await liar.host.gossip
        .publish(TOPIC, sealEnvelope('group', payload, liar.keyPair, NETWORK))
        .catch(() => undefined);
    }
    await until(() => judge.host.standing.isBanned(liar.host.peerId), 'the liar is banned');
    assert.deepEqual(await all(judge.inbox.stored('group', RECIPE)), []);
  });

  it('of requests: what is too much is answered busy, and others are served', async () => {
    const { judge, liar, honest } = await scene();
    const hash = await judge.store.put(new Uint8Array(1_000).fill(5));
    const asks = Array.from({ length: 40 }, () => liar.blobs.have(judge.host.peerId, [hash]).catch(() => 'refused'));
    const got = await honest.blobs.fetch(hash, { sizeBytes: 1_000, timeoutMs: 10_000 });
    assert.equal(got.length, 1_000);
    await Promise.all(asks);
  });

  it('of streams opened and left idle: each peer has a few, and the others theirs', async () => {
    const { judge, liar, honest } = await scene();
    const hash = await judge.store.put(new Uint8Array(2_000).fill(6));
    const opened: Stream[] = [];
    for (let i = 0; i < 24; i++) {
      const stream = await liar.host.libp2p.dialProtocol(judge.host.libp2p.peerId, BLOB_PROTOCOL, {
        maxOutboundStreams: 100,
      });
      opened.push(stream);
      // The beginning of a request of 64 bytes, and no more of it; a stream that is refused is closed by then.
      if (stream.status === 'open') stream.send(Uint8Array.of(64, 1, 2));
    }
    const held = (): number => opened.filter(({ status }) => status === 'open').length;
    // Sooner than the ten seconds after which a request that does not come is given up.
    await until(() => held() <= 8, 'no more than eight are held', 5_000);
    const got = await honest.blobs.fetch(hash, { sizeBytes: 2_000, timeoutMs: 10_000 });
    assert.equal(got.length, 2_000);
  });

  it('of connections opened and left silent: an honest node comes in', async () => {
    const judge = await swarm.node({ follow: [RECIPE] });
    const address = judge.host.addresses()[0]!;
    const port = Number(/\/tcp\/(\d+)/.exec(address)![1]);
    const sockets: Socket[] = Array.from({ length: 60 }, () => connect(port, '127.0.0.1'));
    for (const socket of sockets) socket.on('error', () => undefined);
    try {
      const honest = await swarm.node({ bootstrap: [address] });
      await until(() => judge.host.peers.connected().includes(honest.host.peerId), 'the honest node is connected');
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  it('of drops: a body that drips is given up, and had from somebody else', async () => {
    const { judge, liar, honest } = await scene();
    const bytes = new Uint8Array(50_000).fill(9);
    const hash = await honest.store.put(bytes);
    await liar.store.put(bytes);
    await liar.host.libp2p.unhandle(BLOB_PROTOCOL);
    let drips = 0;
    await liar.host.libp2p.handle(BLOB_PROTOCOL, (stream) => {
      stream.send(Uint8Array.of(0xd0, 0x86, 0x03));
      const drip = setInterval(() => {
        drips++;
        stream.send(Uint8Array.of(0));
      }, 50);
      stream.addEventListener('close', () => clearInterval(drip));
    });
    const got = await judge.blobs.fetch(hash, { sizeBytes: bytes.length, from: [liar.host.peerId], timeoutMs: 4_500 });
    assert.equal(toHex(sha256(got)), hash);
    assert.ok(drips > 0, 'the liar was asked');
  });
});
