// Everything signed goes through here, from gossip, sync or ourselves: checked once, stored, then handed to listeners.
// Source: the Inbox port; spec/wire.md "Signed things"; spec/rollouts.md "Order of checks", stage 0.
// Invariants: a listener hears each message (id and signer) once a process, after it is stored; a message of ours is stored
// before it is published; a replay of others' messages costs its carrier, not its signer.

import { ACCEPT, type CheckAnswer, type CheckCode, ignore, reject } from '../protocol/check.ts';
import { messageKey, openEnvelope, sealEnvelope } from '../protocol/envelope.ts';
import { errorText, SwarmError } from '../protocol/errors.ts';
import type { KeyPair } from '../protocol/keys.ts';
import { networkIdOf } from '../protocol/network-id.ts';
import type {
  Clock,
  Inbox,
  Logger,
  MessageKind,
  PeerIdString,
  Records,
  SignedMessage,
  StageZero,
  Startable,
} from '../protocol/ports.ts';
import { createVerifier } from '../protocol/signing.ts';
import {
  CHANNEL_OF_KIND,
  isKindOfTopic,
  parseTopic,
  recipesTopic,
  type Topic,
  topicOf,
  topicsOfRecipe,
} from '../protocol/topics.ts';
import { createGossip } from './gossip.ts';
import type { Host } from './host.ts';
import { createInboxStore, type StoredMessage } from './inbox-store.ts';
import { createParkingLot, type Parked, WORTH_WAITING } from './parking.ts';
import { readPayloadHead } from './payload-head.ts';
import { createRateLimiter, type Rate } from './rate-limit.ts';

/** Accepted messages of one signer: a node sends some groups a step, a verifier a verdict for each of everybody's. */
export const SIGNER_RATE: Rate = { perSecond: 50, burst: 2_000 };
/** Messages of any kind from one carrier. */
export const CARRIER_RATE: Rate = { perSecond: 500, burst: 5_000 };
/** Messages of one carrier that are being checked at once. */
const MAX_CHECKS_PER_CARRIER = 256;
/** Accepted messages remembered without asking the disk; a copy of one that gossip brings is passed on. */
const MAX_RECENT = 8_192;

export interface InboxComponents {
  readonly host: Host;
  readonly records: (name: string) => Records;
  readonly keyPair: KeyPair;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface InboxInit {
  /** kinds without a check are taken on their signature alone */
  readonly stageZero: Partial<Record<MessageKind, StageZero>>;
  readonly signerRate?: Rate;
  readonly carrierRate?: Rate;
}

/** How a message came: passed on by a peer, or asked for in sync (which we paced ourselves). */
export interface Carrier {
  readonly peer: PeerIdString;
  readonly via: 'gossip' | 'sync';
  /** gossip: where it was said */
  readonly topic?: Topic;
}

export interface NetworkInbox extends Inbox, Startable {
  readonly networkName: string;
  /** one envelope as it came; for gossip and sync */
  receive(envelope: Uint8Array, scope: string | null, carrier: Carrier): Promise<CheckAnswer>;
  followed(): readonly string[];
  /** told when a recipe is followed */
  onFollow(listener: (recipeIdHex: string) => void): () => void;
  storedFrom(kind: MessageKind, scope: string | null, fromArrival: number): AsyncIterable<StoredMessage>;
  /** deletes stored messages; returns how many */
  prune(kind: MessageKind, scope: string | null, isOver: (message: SignedMessage) => boolean): Promise<number>;
  parkedCount(): number;
}

type Listener = (message: SignedMessage, scope: string | null) => void;

/** @throws from publish(): USAGE (no scope for a recipe's message), TOO_LARGE, DISK_FULL */
export function createInbox(components: InboxComponents, init: InboxInit): NetworkInbox {
  const { host, clock, logger, keyPair } = components;
  const networkName = host.networkName;
  const networkId = networkIdOf(networkName);
  const verify = createVerifier();
  const gossip = createGossip({ pubsub: host.gossip, logger });
  const store = createInboxStore({ records: components.records, networkId, logger });
  const signers = createRateLimiter(clock, init.signerRate ?? SIGNER_RATE);
  const carriers = createRateLimiter(clock, init.carrierRate ?? CARRIER_RATE);
  const ignored: Record<string, number> = {};
  const parking = createParkingLot({ clock, onExpired: (parked) => countIgnored(parked.code) });
  const listeners = new Map<MessageKind, Set<Listener>>();
  const followListeners = new Set<(recipeIdHex: string) => void>();
  const followed = new Set<string>();
  const recent = new Set<string>();
  const checking = new Map<string, Promise<CheckAnswer>>();
  const checksOf = new Map<PeerIdString, number>();

  function countIgnored(code: CheckCode): void {
    ignored[code] = (ignored[code] ?? 0) + 1;
  }

  function remember(key: string): void {
    recent.add(key);
    if (recent.size > MAX_RECENT) recent.delete(recent.values().next().value!);
  }

  function announce(message: SignedMessage, scope: string | null): void {
    for (const listener of listeners.get(message.kind) ?? []) {
      try {
        listener(message, scope);
      } catch (error) {
        logger.error(
          { kind: message.kind, id: message.idHex, error: errorText(error) },
          'a listener of messages threw',
        );
      }
    }
  }

  async function keep(message: SignedMessage, scope: string | null): Promise<void> {
    await store.put(message, scope);
    remember(messageKey(message));
    announce(message, scope);
  }

  async function stageZero(message: SignedMessage): Promise<CheckAnswer> {
    try {
      return (await init.stageZero[message.kind]?.(message)) ?? ACCEPT;
    } catch (error) {
      logger.error({ kind: message.kind, id: message.idHex, error: errorText(error) }, 'a check of messages failed');
      return ignore('INTERNAL');
    }
  }

  /** Stage zero and what follows from it; parks what may be accepted later. */
  async function judge(message: SignedMessage, scope: string | null): Promise<CheckAnswer> {
    const answer = await stageZero(message);
    if (answer.answer === 'accept') {
      await keep(message, scope);
      return answer;
    }
    if (answer.answer === 'ignore' && WORTH_WAITING.includes(answer.code)) {
      if (parking.park(message, scope, answer.code)) return answer;
      countIgnored('TOO_MANY_PARKED');
      return ignore('TOO_MANY_PARKED');
    }
    countIgnored(answer.code);
    return answer;
  }

  async function checkNew(message: SignedMessage, scope: string | null, carrier: Carrier): Promise<CheckAnswer> {
    const key = messageKey(message);
    if (recent.has(key)) return carrier.via === 'gossip' ? ACCEPT : ignore('DUPLICATE');
    const running = checking.get(key);
    if (running !== undefined) return running;
    const check = (async () => {
      if (await store.has(message, scope)) return ignore('DUPLICATE');
      if (carrier.via === 'gossip' && !signers.has(message.peerIdString)) {
        countIgnored('RATE_LIMITED');
        return ignore('RATE_LIMITED');
      }
      const answer = await judge(message, scope);
      if (answer.answer === 'accept' && carrier.via === 'gossip') signers.take(message.peerIdString);
      return answer;
    })().finally(() => checking.delete(key));
    checking.set(key, check);
    return check;
  }

  async function receive(envelope: Uint8Array, scope: string | null, carrier: Carrier): Promise<CheckAnswer> {
    const running = checksOf.get(carrier.peer) ?? 0;
    const isTooMuch = running >= MAX_CHECKS_PER_CARRIER || !carriers.take(carrier.peer);
    if (carrier.via === 'gossip' && isTooMuch) {
      countIgnored('RATE_LIMITED');
      return ignore('RATE_LIMITED');
    }
    checksOf.set(carrier.peer, running + 1);
    try {
      const opening = openEnvelope(envelope, networkId, verify);
      const refusal = opening.ok ? misplaced(opening.message, scope, carrier.topic) : opening.answer;
      if (refusal !== null && refusal.answer !== 'accept') countIgnored(refusal.code);
      const answer = refusal ?? (opening.ok ? await checkNew(opening.message, scope, carrier) : reject('MALFORMED'));
      settle(host, carrier, answer);
      return answer;
    } finally {
      const left = (checksOf.get(carrier.peer) ?? 1) - 1;
      if (left > 0) checksOf.set(carrier.peer, left);
      else checksOf.delete(carrier.peer);
    }
  }

  function subscribe(topicText: string): void {
    const topic = parseTopic(topicText);
    gossip.subscribe(topicText, async (data, from) => {
      const carrier = { peer: from, via: 'gossip' } as const;
      return receive(data, topic?.recipeIdHex ?? null, topic === null ? carrier : { ...carrier, topic });
    });
  }

  return {
    networkName,
    receive,
    async follow(recipeIdHex) {
      if (followed.has(recipeIdHex)) return;
      followed.add(recipeIdHex);
      for (const topic of topicsOfRecipe(networkName, recipeIdHex)) subscribe(topic);
      for (const listener of followListeners) listener(recipeIdHex);
    },
    async unfollow(recipeIdHex) {
      if (!followed.delete(recipeIdHex)) return;
      for (const topic of topicsOfRecipe(networkName, recipeIdHex)) gossip.unsubscribe(topic);
    },
    followed: () => [...followed],
    onFollow(listener) {
      followListeners.add(listener);
      return () => void followListeners.delete(listener);
    },
    async publish(kind, payload, scope) {
      const home = scopeOf(kind, scope);
      const opening = openEnvelope(sealEnvelope(kind, payload, keyPair, networkId), networkId, verify);
      if (!opening.ok) throw new SwarmError('INTERNAL', 'our own envelope does not open', { kind });
      const { message } = opening;
      if (misplaced(message, home) !== null) {
        throw new SwarmError('USAGE', `this ${kind} does not belong to recipe ${scope}: scope and payload must agree`, {
          kind,
        });
      }
      if (!recent.has(messageKey(message)) && !(await store.has(message, home))) await keep(message, home);
      await gossip.publish(topicOf(networkName, kind, home), message.envelope);
      return message;
    },
    async republish(message, scope) {
      await gossip.publish(topicOf(networkName, message.kind, scopeOf(message.kind, scope)), message.envelope);
    },
    on(kind, listener) {
      const mine = listeners.get(kind) ?? new Set<Listener>();
      listeners.set(kind, mine);
      mine.add(listener);
      return () => void mine.delete(listener);
    },
    async *stored(kind, scope) {
      for await (const { message } of store.read(kind, scopeOf(kind, scope))) yield message;
    },
    storedFrom: store.read,
    async prune(kind, scope, isOver) {
      const home = scopeOf(kind, scope);
      let pruned = 0;
      for await (const { message } of store.read(kind, home)) {
        if (!isOver(message)) continue;
        await store.delete(message, home);
        pruned++;
      }
      return pruned;
    },
    async reconsider(scope) {
      let accepted = 0;
      for (const parked of parking.takeAll(scope)) {
        if (await isAcceptedNow(parked)) accepted++;
      }
      return accepted;
    },
    parkedCount: parking.size,
    ignoredCounts: () => ({ ...ignored }),
    async start() {
      subscribe(recipesTopic(networkName));
      await gossip.start();
    },
    stop: gossip.stop,
  };

  async function isAcceptedNow(parked: Parked): Promise<boolean> {
    const key = messageKey(parked.message);
    if (recent.has(key) || checking.has(key)) return false;
    const check = judge(parked.message, parked.scope).finally(() => checking.delete(key));
    checking.set(key, check);
    return (await check).answer === 'accept';
  }
}

/** Where a kind is stored: messages of the recipes topic under no recipe. @throws {SwarmError} USAGE */
function scopeOf(kind: MessageKind, scope: string | null): string | null {
  if (CHANNEL_OF_KIND[kind] === 'recipes') return null;
  if (scope === null) throw new SwarmError('USAGE', `a ${kind} belongs to a recipe: give its id as scope`, { kind });
  return scope;
}

/** [REJECT] a message on a topic of another kind or recipe. */
function misplaced(message: SignedMessage, scope: string | null, topic?: Topic): CheckAnswer | null {
  if (topic !== undefined && !isKindOfTopic(message.kind, topic)) return reject('MALFORMED');
  const isRecipesKind = CHANNEL_OF_KIND[message.kind] === 'recipes';
  if (isRecipesKind) return scope === null ? null : reject('MALFORMED');
  return scope !== null && readPayloadHead(message.payload)?.recipeIdHex === scope ? null : reject('MALFORMED');
}

/** Counts for `murmur peers`; what can only be the carrier's doing costs it points, since honest peers pass on nothing bad. */
function settle(host: Host, carrier: Carrier, answer: CheckAnswer): void {
  if (answer.answer === 'accept') host.peers.count(carrier.peer, 'messagesAccepted');
  if (answer.answer === 'ignore') host.peers.count(carrier.peer, 'messagesIgnored');
  if (answer.answer !== 'reject') return;
  host.peers.count(carrier.peer, 'messagesRejected');
  const isForged = ['MALFORMED', 'BAD_SIGNATURE', 'TOO_LARGE'].includes(answer.code);
  if (isForged) host.standing.penalize(carrier.peer, 'malformed message');
  else if (carrier.via === 'gossip') host.standing.penalize(carrier.peer, 'rejected message');
}
