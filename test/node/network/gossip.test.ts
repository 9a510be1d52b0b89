// Gossip over real libp2p on 127.0.0.1: what one publishes all hear, once, checked; what nobody heard is not lost.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { GossipSub } from '@chainsafe/libp2p-gossipsub';
import { createGossip } from '../../../node/network/gossip.ts';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../../../node/protocol/check.ts';
import { until } from '../../support/until.ts';
import {
  all,
  createMemoryRecords,
  createSwarm,
  createTestLogger,
  groupPayload,
  manifestPayload,
  RECIPE,
  verdictPayload,
} from './support.ts';

describe('gossip', { timeout: 60_000 }, () => {
  const swarm = createSwarm();
  after(() => swarm.close());

  it('reaches every node, also through others, once', async () => {
    const a = await swarm.node();
    const [address] = a.host.addresses();
    const b = await swarm.node({ bootstrap: [address!] });
    const c = await swarm.node({ bootstrap: [address!] });
    const heard: string[] = [];
    for (const [name, node] of [
      ['a', a],
      ['b', b],
      ['c', c],
    ] as const) {
      await node.inbox.follow(RECIPE);
      node.inbox.on('group', (message, scope) => {
        assert.equal(scope, RECIPE);
        assert.equal(message.peerIdString, b.keyPair.peerIdString);
        heard.push(`${name} ${message.idHex}`);
      });
    }
    await until(() => a.host.peers.connected().length === 2, 'all are connected');
    const sent = await b.inbox.publish('group', groupPayload(1), RECIPE);
    await until(() => heard.length >= 3, 'all heard it');
    await b.inbox.publish('group', groupPayload(1), RECIPE);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(heard.toSorted(), [`a ${sent.idHex}`, `b ${sent.idHex}`, `c ${sent.idHex}`]);
    const stored = await all(c.inbox.stored('group', RECIPE));
    assert.deepEqual(
      stored.map((message) => message.idHex),
      [sent.idHex],
    );
    assert.deepEqual(stored[0]?.envelope, sent.envelope);
  });

  it('sends what was published before anybody listened', async () => {
    const a = await swarm.node();
    await a.inbox.follow(RECIPE);
    const sent = await a.inbox.publish('manifest', manifestPayload(0), RECIPE);
    const heard: string[] = [];
    const b = await swarm.node({ bootstrap: [a.host.addresses()[0]!] });
    b.inbox.on('manifest', (message) => heard.push(message.idHex));
    await b.inbox.follow(RECIPE);
    await until(() => heard.length > 0, 'the earlier message came');
    assert.deepEqual(heard, [sent.idHex]);
  });

  it('drops by stage zero, counts by code, and bans who keeps sending what is refused', async () => {
    const judge = await swarm.node({
      settings: {
        stageZero: {
          group: () => ignore('TOO_OLD'),
          verdict: () => reject('NOT_A_VERIFIER'),
          manifest: () => {
            throw new Error('a bug of ours');
          },
        },
      },
    });
    await judge.inbox.follow(RECIPE);
    const liar = await swarm.node({ bootstrap: [judge.host.addresses()[0]!] });
    await until(
      () => liar.host.gossip.getSubscribers(`/murmuration/test/${RECIPE}/verdicts/1`).length > 0,
      'subscribed',
    );
    await liar.inbox.publish('group', groupPayload(1), RECIPE);
    await liar.inbox.publish('manifest', manifestPayload(1), RECIPE);
    for (let slot = 0; slot < 12; slot++) await liar.inbox.publish('verdict', verdictPayload(slot), RECIPE);
    await until(() => judge.host.standing.isBanned(liar.host.peerId), 'the liar is banned');
    const { NOT_A_VERIFIER: refused, ...others } = judge.inbox.ignoredCounts();
    assert.ok(refused !== undefined && refused > 10, `${refused} refused`);
    assert.deepEqual(others, { TOO_OLD: 1, INTERNAL: 1 });
    await until(() => judge.host.peers.connected().length === 0, 'the liar is disconnected');
    await assert.rejects(
      liar.host.libp2p.services.ping.ping(judge.host.libp2p.peerId, { signal: AbortSignal.timeout(2_000) }),
    );
    assert.deepEqual(judge.host.peers.connected(), []);
    for (const kind of ['group', 'verdict', 'manifest'] as const) {
      assert.deepEqual(await all(judge.inbox.stored(kind, RECIPE)), []);
    }
  });

  it('is passed on before the disk has it, told after, and stored when the node has stopped', async (t) => {
    const disk = Promise.withResolvers<void>();
    t.after(() => disk.resolve());
    const stored = createMemoryRecords();
    const slow = {
      ...stored,
      batch: async (entries: Parameters<typeof stored.batch>[0]) => {
        await disk.promise;
        await stored.batch(entries);
      },
    };
    const records = (name: string) => (name.startsWith('inbox-group') ? slow : createMemoryRecords());
    const relay = await swarm.node({ follow: [RECIPE], records });
    const bootstrap = [relay.host.addresses()[0]!];
    const settings = { targetPeers: 0 };
    const [from, to] = await Promise.all([
      swarm.node({ bootstrap, settings, follow: [RECIPE] }),
      swarm.node({ bootstrap, settings, follow: [RECIPE] }),
    ]);
    // So that all comes through the relay.
    from.host.standing.ban(to.host.peerId, 'kept apart');
    to.host.standing.ban(from.host.peerId, 'kept apart');
    const topic = `/murmuration/test/${RECIPE}/groups/1`;
    const { mesh } = relay.host.gossip as unknown as { mesh: Map<string, Set<string>> };
    await until(() => [from, to].every(({ host }) => mesh.get(topic)?.has(host.peerId)), 'the relay sends to both');
    const told: string[] = [];
    relay.inbox.on('group', () => told.push('relay'));
    to.inbox.on('group', () => told.push('to'));
    await from.inbox.publish('group', groupPayload(1), RECIPE);
    await until(() => told.length > 0, 'it was passed on');
    assert.deepEqual(told, ['to']);
    const stopped = relay.stop();
    disk.resolve();
    await stopped;
    assert.deepEqual(told, ['to', 'relay']);
    assert.equal((await all(stored.entries())).length, 2);
  });

  it('is checked to its end before gossip has stopped: what a check reads may close next', async () => {
    const topicValidators: GossipSub['topicValidators'] = new Map();
    const nothing = (): void => {};
    const unused = { subscribe: nothing, addEventListener: nothing, removeEventListener: nothing };
    const pubsub = { topicValidators, ...unused } as unknown as GossipSub;
    const gossip = createGossip({ pubsub, admit: (_, count) => count, logger: createTestLogger() });
    const checked = Promise.withResolvers<CheckAnswer>();
    gossip.subscribe('topic', () => checked.promise);
    await gossip.start();
    type Asked = Parameters<NonNullable<ReturnType<typeof topicValidators.get>>>;
    const [peer, message] = ['peer', { topic: 'topic', data: new Uint8Array() }] as unknown as Asked;
    const answered = topicValidators.get('topic')!(peer, message);
    const ended: string[] = [];
    const stopped = gossip.stop().then(() => ended.push('stop'));
    await new Promise(setImmediate);
    ended.push('check');
    checked.resolve(ACCEPT);
    await stopped;
    assert.deepEqual(ended, ['check', 'stop']);
    assert.equal(await answered, 'accept');
  });

  it('parks what came too early and takes it when its time has come', async () => {
    let isRootKnown = false;
    const a = await swarm.node({
      settings: { stageZero: { group: () => (isRootKnown ? ACCEPT : ignore('UNKNOWN_ROOT')) } },
    });
    await a.inbox.follow(RECIPE);
    const b = await swarm.node({ bootstrap: [a.host.addresses()[0]!] });
    const heard: string[] = [];
    a.inbox.on('group', (message) => heard.push(message.idHex));
    await until(() => b.host.gossip.getSubscribers(`/murmuration/test/${RECIPE}/groups/1`).length > 0, 'subscribed');
    const sent = await b.inbox.publish('group', groupPayload(5), RECIPE);
    await until(() => a.inbox.parkedCount() === 1, 'it is parked');
    assert.equal(await a.inbox.reconsider(RECIPE), 0);
    assert.equal(a.inbox.parkedCount(), 1);
    isRootKnown = true;
    assert.equal(await a.inbox.reconsider(RECIPE), 1);
    assert.deepEqual(heard, [sent.idHex]);
    assert.equal(a.inbox.parkedCount(), 0);
    assert.deepEqual(a.inbox.ignoredCounts(), {});
  });
});
