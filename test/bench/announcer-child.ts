// A process that sends announcements to one address on 127.0.0.1, as many a second as it is told: honest ones by many keys, or a
// hostile mixture. Bounded: it ends by itself after MAX_MS, and when its parent is gone.
// The parent sends Orders over IPC; the answer to each is how many messages went out since the one before.

import { setTimeout as sleep } from 'node:timers/promises';
import { fromHex, sha256, toHex, utf8 } from '../../node/protocol/bytes.ts';
import { sealEnvelope } from '../../node/protocol/envelope.ts';
import { encodeGroup } from '../../node/protocol/group.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import { networkIdOf } from '../../node/protocol/network-id.ts';
import { createSwarm, type TestNode } from '../node/network/support.ts';
import { until } from '../support/until.ts';

const MAX_MS = 120_000;
const TICK_MS = 20;
/** Identities that a hostile one uses up: those that were banned are replaced, so many times. */
const MAX_IDENTITIES = 60;

export interface Target {
  readonly address: string;
  readonly networkName: string;
  readonly recipeIdHex: string;
  readonly policyRootHex: string;
  readonly policyStep: number;
  readonly groupSize: number;
  readonly keys: number;
  /** hosts that send at a time */
  readonly carriers: number;
  readonly mixture: 'honest' | 'hostile';
  /** messages that are made and signed before the first is sent: a sender elsewhere takes no time of this machine's */
  readonly madeAhead: number;
}

export type Order = { readonly begin: Target } | { readonly perSecond: number };
export interface Sent {
  readonly sent: number;
  /** identities used so far */
  readonly identities: number;
}

type Make = (k: number) => Uint8Array;

/** Announcements as honest peers make them: each key its slots in order. Their bodies are nowhere. */
function announcements(target: Target, keys: readonly KeyPair[]): Make {
  const networkId = networkIdOf(target.networkName);
  const [recipeId, policyRoot] = [fromHex(target.recipeIdHex), fromHex(target.policyRootHex)];
  return (k) => {
    const keyPair = keys[k % keys.length]!;
    const payload = encodeGroup({
      ...{
        recipeId,
        policyRoot,
        policyStep: target.policyStep,
        peerId: keyPair.peerId,
        slot: Math.floor(k / keys.length),
      },
      rewards: new Array<number>(target.groupSize).fill(0),
      lengths: new Array<number>(target.groupSize).fill(4),
      bodyHash: sha256(utf8(`body ${k}`)),
      bodyBytes: 1_000,
    });
    return sealEnvelope('group', payload, keyPair, networkId);
  };
}

/** What ends in a ban of who carries it: forged, padded, no message at all. */
function forbidden(target: Target, keys: readonly KeyPair[]): Make {
  const announce = announcements(target, keys);
  const kinds: readonly Make[] = [
    (k) => {
      const forged = announce(k).slice();
      forged[forged.length - 5]! ^= 1;
      return forged;
    },
    (k) => Buffer.concat([utf8(`noise ${k}`), new Uint8Array(2_000).fill(k)]),
    (k) => Buffer.concat([announce(k), new Uint8Array(20_000).fill(0x60)]),
  ];
  return (k) => kinds[k % kinds.length]!(k);
}

/** What may be sent without being banned, and costs the receiver its checks: true announcements, policies that nobody knows,
 * a second body for a slot, groups of the wrong size. */
function nagging(target: Target, keys: readonly KeyPair[]): Make {
  const kinds: readonly Make[] = [
    announcements(target, keys),
    announcements(
      { ...target, policyRootHex: toHex(sha256(utf8('unknown'))), policyStep: target.policyStep + 1 },
      keys,
    ),
    announcements(target, [...keys].reverse()),
    announcements({ ...target, groupSize: target.groupSize + 1 }, keys),
  ];
  return (k) => kinds[k % kinds.length]!(k);
}

async function main(): Promise<void> {
  const swarm = createSwarm();
  const started = Date.now();
  let target: Target | null = null;
  let make: Make = () => new Uint8Array();
  /** of the first carrier of a hostile mixture */
  let makeForbidden: Make | null = null;
  /** made ahead, in the order of sending */
  let ahead: readonly Uint8Array[] = [];
  let perSecond = 0;
  let sent = 0;
  let identities = 0;
  const carriers: (TestNode | null)[] = [];

  const makeFor = (k: number): Uint8Array => (k % target!.carriers === 0 ? (makeForbidden ?? make) : make)(k);
  const carrier = async (): Promise<TestNode | null> => {
    const { address, networkName, recipeIdHex } = target!;
    identities++;
    const node = await swarm.node({ bootstrap: [address], follow: [recipeIdHex], settings: { networkName } });
    const topic = topicOf(target!);
    const isHeard = (): boolean => node.host.gossip.getSubscribers(topic).length > 0;
    await until(isHeard, 'the other side subscribed', 5_000).catch(() => undefined);
    return isHeard() ? node : null;
  };
  process.on('disconnect', () => process.exit(0));
  process.on('message', (order: Order) => {
    void (async () => {
      if ('begin' in order) {
        target = order.begin;
        const keys = Array.from({ length: target.keys }, () => createKeyPair());
        [make, makeForbidden] = [announcements(target, keys), null];
        if (target.mixture === 'hostile') [make, makeForbidden] = [nagging(target, keys), forbidden(target, keys)];
        ahead = Array.from({ length: target.madeAhead }, (_, k) => makeFor(k));
        for (let i = 0; i < target.carriers; i++) carriers.push(await carrier());
      } else {
        perSecond = order.perSecond;
      }
      process.send!({ sent, identities } satisfies Sent);
      sent = 0;
    })();
  });

  let made = 0;
  let lastMs = performance.now();
  for (let due = 0; Date.now() - started < MAX_MS; ) {
    await sleep(TICK_MS);
    const nowMs = performance.now();
    due = Math.min(perSecond, due + (perSecond * (nowMs - lastMs)) / 1000);
    lastMs = nowMs;
    const batches = carriers.map((): Uint8Array[] => []);
    for (; due >= 1; due--) {
      batches[made % batches.length]!.push(ahead[made] ?? makeFor(made));
      made++;
    }
    for (const [i, batch] of batches.entries()) {
      const node = carriers[i] ?? null;
      if (node === null || batch.length === 0) continue;
      if (node.host.peers.connected().length > 0) {
        await sendAll(node, target!, batch);
        sent += batch.length;
        continue;
      }
      // Banned, or dropped: another name.
      carriers[i] = null;
      if (identities < MAX_IDENTITIES) void carrier().then((next) => (carriers[i] = next));
    }
  }
  process.exit(0);
}

/** The part of gossipsub that its types hide: one frame of many messages costs its sender next to nothing. */
interface RpcSender {
  sendRpc(peer: string, rpc: { subscriptions: []; messages: { topic: string; data: Uint8Array }[] }): boolean;
}

async function sendAll({ host }: TestNode, target: Target, batch: readonly Uint8Array[]): Promise<void> {
  const topic = topicOf(target);
  if (target.mixture === 'hostile') {
    const messages = batch.map((data) => ({ topic, data }));
    (host.gossip as unknown as RpcSender).sendRpc(target.address.split('/p2p/')[1]!, { subscriptions: [], messages });
    return;
  }
  for (const bytes of batch) await host.gossip.publish(topic, bytes).catch(() => undefined);
}

const topicOf = ({ networkName, recipeIdHex }: Target): string => `/murmuration/${networkName}/${recipeIdHex}/groups/1`;

if (process.send !== undefined) await main();
