// The Inbox port over gossip: follow topics, publish what we sign, read what was accepted. The checks are in intake.ts.
// Source: the Inbox port; spec/wire.md "Topics" ("a node stores an announcement before it publishes it, and after a
// restart publishes the same bytes again").
// Invariants: a message of ours is stored before it is published; nobody listening is no error.

import type { CheckAnswer } from '../protocol/check.ts';
import { openEnvelope, sealEnvelope } from '../protocol/envelope.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { KeyPair } from '../protocol/keys.ts';
import { networkIdOf } from '../protocol/network-id.ts';
import type { Clock, Inbox, Logger, MessageKind, Records, SignedMessage, Startable } from '../protocol/ports.ts';
import { createVerifier } from '../protocol/signing.ts';
import { CHANNEL_OF_KIND, parseTopic, recipesTopic, topicOf, topicsOfRecipe } from '../protocol/topics.ts';
import { createGossip } from './gossip.ts';
import type { Host } from './host.ts';
import { createInboxStore, type InboxStore, type StoredMessage } from './inbox-store.ts';
import { type Carrier, createIntake, type IntakeInit, misplaced } from './intake.ts';
import { createOfferShelf } from './offer-shelf.ts';
import { readPayloadHead } from './payload-head.ts';

/** What a run makes more of with every step. */
const FORGOTTEN_KINDS: readonly MessageKind[] = ['group', 'verdict', 'secret'];

export interface InboxComponents {
  readonly host: Host;
  readonly records: (name: string) => Records;
  readonly keyPair: KeyPair;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface InboxInit extends IntakeInit {}

export interface NetworkInbox extends Inbox, Startable {
  readonly networkName: string;
  /** one envelope as it came; for gossip and sync */
  receive(envelope: Uint8Array, scope: string | null, carrier: Carrier): Promise<CheckAnswer>;
  followed(): readonly string[];
  /** told when a recipe is followed */
  onFollow(listener: (recipeIdHex: string) => void): () => void;
  storedFrom(kind: MessageKind, scope: string | null, fromArrival: number): AsyncIterable<StoredMessage>;
  /**
   * Deletes a recipe's groups, verdicts and secrets of steps before this one, and those that more than `maxKept` of their kind came
   * after, oldest arrival first, up to the first that is to stay (what lies behind it goes the next time). Manifests stay: one
   * a step (shardcast/kept-manifests.ts). @returns how many
   */
  forgetBefore(recipeIdHex: string, policyStep: number, maxKept: number): Promise<number>;
  /** how many wait for what they build on */
  parkedCount(): number;
}

/** @throws from publish(): USAGE (scope and payload do not agree), TOO_LARGE, DISK_FULL */
export function createInbox(components: InboxComponents, init: InboxInit): NetworkInbox {
  const { host, clock, logger, keyPair } = components;
  const { networkName } = host;
  const networkId = networkIdOf(networkName);
  const verify = createVerifier();
  const store = createInboxStore({ records: components.records, networkId, logger });
  const intake = createIntake({ store, peers: host.peers, networkId, verify, clock, logger }, init);
  const gossip = createGossip({ pubsub: host.gossip, admit: intake.admit, logger });
  const followed = new Set<string>();
  const followListeners = new Set<(recipeIdHex: string) => void>();
  const offers = createOfferShelf({ store, clock, logger });
  const stopKeepingOffers = intake.on('offer', (message) => void offers.put(message));

  function subscribe(topicText: string): void {
    const topic = parseTopic(topicText)!;
    gossip.subscribe(topicText, (data, peer) =>
      intake.receive(data, topic.recipeIdHex, { peer, via: 'gossip', topic }),
    );
  }

  /** Our own message, sealed. */
  function seal(kind: MessageKind, payload: Uint8Array, scope: string | null): SignedMessage {
    const opening = openEnvelope(sealEnvelope(kind, payload, keyPair, networkId), networkId, verify);
    if (!opening.ok) throw new SwarmError('INTERNAL', 'our own envelope does not open', { kind });
    if (misplaced(opening.message, scope) !== null) {
      throw new SwarmError('USAGE', `this ${kind} is not of recipe ${scope}: scope and payload must agree`, { kind });
    }
    return opening.message;
  }

  return {
    networkName,
    async follow(recipeIdHex) {
      if (followed.has(recipeIdHex)) return;
      followed.add(recipeIdHex);
      for (const topic of topicsOfRecipe(networkName, recipeIdHex)) subscribe(topic);
      for (const listener of followListeners) listener(recipeIdHex);
    },
    followed: () => [...followed],
    onFollow(listener) {
      followListeners.add(listener);
      return () => void followListeners.delete(listener);
    },
    async publish(kind, payload, scope) {
      const home = scopeOf(kind, scope);
      const message = seal(kind, payload, home);
      await intake.keepOwn(message, home);
      await gossip.publish(topicOf(networkName, kind, home), message.envelope);
      return message;
    },
    receive: intake.receive,
    on: intake.on,
    reconsider: intake.reconsider,
    ignoredCounts: intake.ignoredCounts,
    parkedCount: intake.parkedCount,
    async *stored(kind, scope) {
      for await (const { message } of store.read(kind, scopeOf(kind, scope))) yield message;
    },
    forget: (message, scope) => store.delete(message, scopeOf(message.kind, scope)),
    storedFrom: store.read,
    forgetBefore: (recipeIdHex, policyStep, maxKept) => forgetBefore(store, recipeIdHex, policyStep, maxKept),
    async start() {
      await offers.open();
      subscribe(recipesTopic(networkName));
      await gossip.start();
    },
    async stop() {
      stopKeepingOffers();
      await gossip.stop();
      await intake.idle();
    },
  };
}

/** Where a kind is stored: messages of the recipes topic under no recipe. @throws {SwarmError} USAGE */
function scopeOf(kind: MessageKind, scope: string | null): string | null {
  if (CHANNEL_OF_KIND[kind] === 'recipes') return null;
  if (scope === null) throw new SwarmError('USAGE', `a ${kind} belongs to a recipe: give its id as scope`, { kind });
  return scope;
}

async function forgetBefore(
  store: InboxStore,
  recipeIdHex: string,
  policyStep: number,
  maxKept: number,
): Promise<number> {
  let forgotten = 0;
  for (const kind of FORGOTTEN_KINDS) {
    const firstKept = (await store.nextArrival(kind, recipeIdHex)) - maxKept;
    for await (const { message, arrival } of store.read(kind, recipeIdHex)) {
      if (arrival >= firstKept && (readPayloadHead(message.payload)?.policyStep ?? 0) >= policyStep) break;
      await store.delete(message, recipeIdHex);
      forgotten++;
    }
  }
  return forgotten;
}
