// Sync over real streams: whoever joins late or comes back learns the past, each item checked as if gossiped.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { Network } from '../../../node/network/network.ts';
import { readPayloadHead } from '../../../node/network/payload-head.ts';
import { concatBytes, fromHex, sha256, toHex } from '../../../node/protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, ignore } from '../../../node/protocol/check.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import { decodeManifest, encodeManifest } from '../../../node/protocol/manifest.ts';
import { decodeOffer, encodeOffer } from '../../../node/protocol/offer.ts';
import type { Records, SignedMessage } from '../../../node/protocol/ports.ts';
import { decodeSyncAnswer, encodeSyncRequest } from '../../../node/protocol/streams.ts';
import { SYNC_PROTOCOL } from '../../../node/protocol/topics.ts';
import { createKeptManifests } from '../../../shardcast/kept-manifests.ts';
import { until } from '../../support/until.ts';
import {
  all,
  clock,
  createMemoryRecords,
  createSwarm,
  createTestLogger,
  groupPayload,
  manifestPayload,
  RECIPE,
  verdictPayload,
} from './support.ts';

describe('sync', { timeout: 60_000 }, () => {
  const swarm = createSwarm();
  after(() => swarm.close());

  it('brings a late joiner the past, manifests first, without what lies under the floor', async () => {
    const old = await swarm.node({ follow: [RECIPE], settings: { floorStep: () => 3 } });
    // Told by somebody who is gone, so that the old node only holds it and gossip has nothing to repeat.
    const author = await swarm.node();
    const told = [
      await author.inbox.publish('offer', new Uint8Array([1]), null),
      ...(await Promise.all(
        [0, 1, 2, 3, 4].map((step) => author.inbox.publish('group', groupPayload(7, RECIPE, step), RECIPE)),
      )),
    ];
    for (const step of [0, 1, 2, 3, 4])
      told.push(await author.inbox.publish('manifest', manifestPayload(step), RECIPE));
    for (const { kind, envelope } of told) {
      const carrier = { peer: author.host.peerId, via: 'sync' } as const;
      assert.deepEqual(await old.inbox.receive(envelope, kind === 'offer' ? null : RECIPE, carrier), ACCEPT);
    }
    const heard: string[] = [];
    const hear = (message: SignedMessage): CheckAnswer => {
      heard.push(`${message.kind} ${readPayloadHead(message.payload)?.policyStep}`);
      return ACCEPT;
    };
    const late = await swarm.node({
      bootstrap: [old.host.addresses()[0]!],
      settings: { stageZero: { group: hear, manifest: hear, offer: hear } },
    });
    let kept = 0;
    late.inbox.on('group', () => kept++);
    await until(() => heard.length === 1, 'the offer came');
    await late.inbox.follow(RECIPE);
    await until(() => heard.length >= 8 && kept === 2, 'the past came, and is stored');
    assert.deepEqual(heard.slice(1), [...[0, 1, 2, 3, 4].map((step) => `manifest ${step}`), 'group 3', 'group 4']);
    assert.equal((await all(late.inbox.stored('group', RECIPE))).length, 2);
    await late.sync.ask(old.host.peerId);
    assert.equal(heard.length, 8);
  });

  it('goes in pages of at most 1 MiB and goes on where it ended', async () => {
    const old = await swarm.node({ follow: [RECIPE] });
    const big = (slot: number): Uint8Array => {
      // An unknown field of 40 000 bytes: what a later release may add.
      const padding = new Uint8Array(40_005);
      padding.set([0xfa, 0x01, 0xc0, 0xb8, 0x02]);
      return concatBytes(groupPayload(slot), padding);
    };
    const wanted = 60;
    for (let slot = 0; slot < wanted; slot++) await old.inbox.publish('group', big(slot), RECIPE);
    const late = await swarm.node({ bootstrap: [old.host.addresses()[0]!] });
    await until(() => late.host.peers.connected().length === 1, 'connected');
    let cursor: Uint8Array = new Uint8Array(0);
    const pages: number[] = [];
    for (;;) {
      const request = encodeSyncRequest({ recipeId: Buffer.from(RECIPE, 'hex'), cursor });
      const options = { maxAnswerBytes: 2 ** 20, timeoutMs: 10_000 };
      const answer = decodeSyncAnswer(await late.requests.ask(old.host.peerId, SYNC_PROTOCOL, request, options));
      pages.push(answer.envelopes.length);
      if (answer.nextCursor.length === 0) break;
      cursor = answer.nextCursor;
    }
    assert.ok(pages.length >= 4, `${pages}`);
    assert.equal(
      pages.reduce((sum, it) => sum + it, 0),
      wanted,
    );
    await late.inbox.follow(RECIPE);
    await until(() => late.host.peers.connected().length === 1, 'connected');
    await late.sync.ask(old.host.peerId);
    assert.equal((await all(late.inbox.stored('group', RECIPE))).length, wanted);
    const unknown = encodeSyncRequest({ recipeId: sha256('other'), cursor: new Uint8Array(0) });
    const options = { maxAnswerBytes: 2 ** 20, timeoutMs: 10_000 };
    const answer = decodeSyncAnswer(await late.requests.ask(old.host.peerId, SYNC_PROTOCOL, unknown, options));
    assert.equal(answer.status, 'missing');
  });

  it('keeps what came over a restart, and learns what was said meanwhile', async () => {
    const stores = new Map<string, Records>();
    const records = (name: string): Records => {
      const known = stores.get(name) ?? createMemoryRecords();
      stores.set(name, known);
      return known;
    };
    const keyPair = createKeyPair();
    const other = await swarm.node({ follow: [RECIPE] });
    const bootstrap = [other.host.addresses()[0]!];
    const first = await swarm.node({ keyPair, records, bootstrap, follow: [RECIPE] });
    const mine = await first.inbox.publish('group', groupPayload(1), RECIPE);
    let heard = 0;
    other.inbox.on('group', () => heard++);
    await until(() => heard === 1, 'the other heard it');
    await first.stop();
    const meanwhile = await other.inbox.publish('verdict', verdictPayload(1), RECIPE);
    const events: string[] = [];
    const again = await swarm.node({ keyPair, records, bootstrap });
    again.inbox.on('group', (message) => events.push(message.idHex));
    again.inbox.on('verdict', (message) => events.push(message.idHex));
    await again.inbox.follow(RECIPE);
    await until(() => events.length === 1, 'the verdict came');
    assert.deepEqual(events, [meanwhile.idHex]);
    const [stored, ...others] = await all(again.inbox.stored('group', RECIPE));
    assert.equal(others.length, 0);
    assert.deepEqual(stored, mine);
    assert.deepEqual(await again.inbox.publish('group', mine.payload, RECIPE), mine, 'the same bytes');
    const { policyStep } = readPayloadHead(mine.payload)!;
    assert.equal(await again.inbox.forgetBefore(RECIPE, policyStep, 10), 0);
    assert.equal(await again.inbox.forgetBefore(RECIPE, policyStep + 1, 10), 2, 'the group and the verdict');
    assert.deepEqual(await all(again.inbox.stored('group', RECIPE)), []);
    const next = await again.inbox.publish('group', groupPayload(2), RECIPE);
    assert.deepEqual(
      (await all(again.inbox.stored('group', RECIPE))).map((it) => it.idHex),
      [next.idHex],
    );
  });

  it('keeps no more messages of a kind than it is told to, the newest', async () => {
    const { inbox } = await swarm.node({ follow: [RECIPE] });
    const sent: string[] = [];
    for (let i = 0; i < 8; i++) sent.push((await inbox.publish('group', groupPayload(i), RECIPE)).idHex);
    assert.equal(await inbox.forgetBefore(RECIPE, 0, 3), 5);
    const left = await all(inbox.stored('group', RECIPE));
    assert.deepEqual(
      left.map((it) => it.idHex),
      sent.slice(-3),
    );
  });

  it('keeps of each trainer the newest offer only, in whatever order they come', async () => {
    const trainer = await swarm.node();
    const observer = await swarm.node();
    const offer = (timeMs: number): Uint8Array =>
      encodeOffer({
        architectures: ['llama'],
        maxParameters: 1,
        trainingRecipeIds: [],
        timeMs,
        accepts: 'all',
        initialPolicyRoots: [],
      });
    const carrier = { peer: trainer.host.peerId, via: 'sync' } as const;
    for (const timeMs of [2_000, 3_000, 1_000]) {
      const message = await trainer.inbox.publish('offer', offer(timeMs), null);
      assert.deepEqual(await observer.inbox.receive(message.envelope, null, carrier), ACCEPT);
    }
    const left = async (node: typeof observer): Promise<number[]> =>
      (await all(node.inbox.stored('offer', null))).map((message) => decodeOffer(message.payload).timeMs);
    for (const node of [trainer, observer]) {
      let times: number[] = [];
      for (let i = 0; i < 100 && times.length !== 1; i++) {
        await clock.sleep(5);
        times = await left(node);
      }
      assert.deepEqual(times, [3_000]);
    }
    const { keyPair, records } = observer;
    await observer.stop();
    const again = await swarm.node({ keyPair, records });
    assert.deepEqual(await left(again), [], 'it was not repeated since 1970');
  });

  it('tells a late joiner the one update of a policy that is left, and the next one when asked again', async () => {
    const trainer = createKeyPair();
    const blob = { hash: sha256('text'), sizeBytes: 4 };
    const update = (policyStep: number, timeMs: number): Uint8Array =>
      encodeManifest({
        ...{ recipeId: fromHex(RECIPE, 32), policyStep, policyRoot: sha256(`policy ${policyStep}`), timeMs },
        ...{ parentRoot: policyStep === 0 ? null : sha256('parent'), record: null, closing: false },
        ...{ config: blob, tokenizer: blob, tokenizerConfig: blob, admission: { wantGroups: 1, activePeers: 1 } },
        full: { sizeBytes: 10, shardBytes: 10, shardHashes: [sha256('shard')] },
      });
    const keepLatest = ({ inbox }: Pick<Network, 'inbox'>): void => {
      const updates = createKeptManifests({ inbox, clock, logger: createTestLogger() }, { recipeIdHex: RECIPE });
      inbox.on('manifest', (message) => updates.keepLatest(message, decodeManifest(message.payload)));
    };
    const told = async ({ inbox }: Pick<Network, 'inbox'>, count: number): Promise<readonly number[]> => {
      let times: number[] = [];
      for (let i = 0; i < 200 && (times.length !== 2 || times[1] !== count); i++) {
        await clock.sleep(5);
        times = (await all(inbox.stored('manifest', RECIPE))).map(({ payload }) => decodeManifest(payload).timeMs);
      }
      return times;
    };
    const old = await swarm.node({ keyPair: trainer, follow: [RECIPE] });
    keepLatest(old);
    for (const timeMs of [1, 2, 3, 4]) await old.inbox.publish('manifest', update(timeMs > 2 ? 1 : 0, timeMs), RECIPE);
    assert.deepEqual(await told(old, 4), [2, 4]);
    const late = await swarm.node({ bootstrap: [old.host.addresses()[0]!] });
    keepLatest(late);
    let heard = 0;
    late.inbox.on('manifest', () => heard++);
    await late.inbox.follow(RECIPE);
    assert.deepEqual(await told(late, 4), [2, 4]);
    assert.equal(heard, 2);
    await old.inbox.publish('manifest', update(1, 5), RECIPE);
    await late.sync.ask(old.host.peerId);
    assert.deepEqual(await told(late, 5), [2, 5]);
  });

  it('forgets a message for good', async () => {
    const node = await swarm.node({ follow: [RECIPE] });
    const [one, other] = [
      await node.inbox.publish('group', groupPayload(1), RECIPE),
      await node.inbox.publish('group', groupPayload(2), RECIPE),
    ];
    await node.inbox.forget(one, RECIPE);
    assert.deepEqual(
      (await all(node.inbox.stored('group', RECIPE))).map(({ idHex }) => idHex),
      [other.idHex],
    );
  });

  it('takes nothing for another recipe, another network or another version', async () => {
    const node = await swarm.node({ follow: [RECIPE] });
    const carrier = { peer: createKeyPair().peerIdString, via: 'sync' } as const;
    const foreign = await swarm.node({ settings: { networkName: 'elsewhere' } });
    const { envelope } = await foreign.inbox.publish('group', groupPayload(1), RECIPE);
    assert.deepEqual(await node.inbox.receive(envelope, RECIPE, carrier), ignore('WRONG_NETWORK'));
    const here = await swarm.node();
    const message = await here.inbox.publish('group', groupPayload(1), RECIPE);
    const misplaced = await node.inbox.receive(message.envelope, toHex(sha256('other')), carrier);
    assert.deepEqual(misplaced, { answer: 'reject', code: 'MALFORMED' });
    assert.deepEqual(await node.inbox.receive(message.envelope, RECIPE, carrier), ACCEPT);
    assert.deepEqual(await node.inbox.receive(message.envelope, RECIPE, carrier), ignore('DUPLICATE'));
    // version = 2 where 1 was: field 2, varint
    const at = message.envelope.findIndex((byte, i) => byte === 0x10 && message.envelope[i + 1] === 1);
    const newer = message.envelope.slice();
    newer[at + 1] = 2;
    const answer = await node.inbox.receive(newer, RECIPE, carrier);
    assert.deepEqual([answer.answer, answer.answer !== 'accept' && answer.code], ['ignore', 'UNSUPPORTED_VERSION']);
    assert.equal(node.host.standing.points(carrier.peer) > 0, true);
    await assert.rejects(node.inbox.publish('group', groupPayload(1), null), { code: 'USAGE' });
    await assert.rejects(node.inbox.publish('group', groupPayload(1), toHex(sha256('other'))), { code: 'USAGE' });
  });
});
