// The way of one message in: opened, placed, new?, within its signer's rate, stage zero, stored, told.
// Source: the Inbox port; spec/wire.md "Signed things"; spec/rollouts.md "Order of checks", stage 0.
// Invariants: a listener hears each message (id and signer) once a process, after it is stored; a replay of others' messages
// costs its carrier, not its signer; an error of ours is `ignore`, never `reject`; gossip's answer waits for no disk.

import { ACCEPT, type CheckAnswer, type CheckCode, ignore, reject } from '../protocol/check.ts';
import { messageKey, openEnvelope } from '../protocol/envelope.ts';
import { errorText } from '../protocol/errors.ts';
import { peerIdOfPublicKey, peerIdStringOf } from '../protocol/keys.ts';
import type { Clock, Logger, MessageKind, PeerIdString, SignedMessage, StageZero } from '../protocol/ports.ts';
import type { Verify } from '../protocol/signing.ts';
import { CHANNEL_OF_KIND, isKindOfTopic, type Topic } from '../protocol/topics.ts';
import { createCarrierGate } from './carrier-gate.ts';
import type { InboxStore } from './inbox-store.ts';
import { createParkingLot, type Parked, WORTH_WAITING } from './parking.ts';
import { readPayloadHead } from './payload-head.ts';
import type { Peers } from './peers.ts';
import { createRateLimiter, type Rate } from './rate-limit.ts';
import { createTurns } from './turns.ts';

/** Accepted messages of one signer: a node sends some groups a step, a verifier a verdict for each of everybody's. */
export const SIGNER_RATE: Rate = { perSecond: 50, burst: 2_000 };
/** Accepted messages remembered without asking the disk; a copy of one that gossip brings is passed on. */
const MAX_RECENT = 8_192;

/** Accepted messages on their way to the disk; when it falls this far behind, carriers wait for it. */
const MAX_UNSTORED = 1_024;
/** Ignored by some and passed on by others, and nobody but its signer can have made it: it counts as if it were accepted. */
const SIGNERS_DOING: ReadonlySet<CheckCode> = new Set(['QUARANTINED', 'SLOT_SEEN']);

/** How a message came: passed on by a peer, or asked for in sync (which we paced ourselves). */
export interface Carrier {
  readonly peer: PeerIdString;
  readonly via: 'gossip' | 'sync';
  /** gossip: where it was said */
  readonly topic?: Topic;
}

export type MessageListener = (message: SignedMessage, scope: string | null) => void;

export interface IntakeComponents {
  readonly store: InboxStore;
  readonly peers: Peers;
  readonly networkId: Uint8Array;
  readonly verify: Verify;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface IntakeInit {
  /** kinds without a check are taken on their signature alone */
  readonly stageZero: Partial<Record<MessageKind, StageZero>>;
  readonly signerRate?: Rate;
  readonly carrierRate?: Rate;
}

export interface Intake {
  /** how many of the messages that a carrier brings by gossip may be received; counts the others */
  admit(carrier: PeerIdString, count: number): number;
  receive(envelope: Uint8Array, scope: string | null, carrier: Carrier): Promise<CheckAnswer>;
  /** stores a message of our own and tells it, once; no check */
  keepOwn(message: SignedMessage, scope: string | null): Promise<void>;
  reconsider(scope: string | null): Promise<number>;
  on(kind: MessageKind, listener: MessageListener): () => void;
  ignoredCounts(): Readonly<Record<string, number>>;
  parkedCount(): number;
  /** resolves when all that was accepted is stored */
  idle(): Promise<void>;
}

/** The one way in for messages, whoever brings them. */
export function createIntake(components: IntakeComponents, init: IntakeInit): Intake {
  const { store, peers, clock, logger, networkId, verify } = components;
  const signers = createRateLimiter(clock, init.signerRate ?? SIGNER_RATE);
  const gate = createCarrierGate({ clock }, init.carrierRate);
  const ignored: Record<string, number> = {};
  const parking = createParkingLot({ clock, onExpired: (parked) => void dropped(ignore(parked.code)) });
  const listeners = createListeners(logger);
  const recent = new Set<string>();
  const checking = new Map<string, Promise<CheckAnswer>>();
  const turn = createTurns();
  const keeping = new Set<Promise<void>>();

  /** Counts what is not taken, by code. */
  function dropped(answer: CheckAnswer, count = 1): CheckAnswer {
    if (answer.answer !== 'accept') ignored[answer.code] = (ignored[answer.code] ?? 0) + count;
    return answer;
  }

  /** Stores and tells. Known from the beginning, so that a copy that comes meanwhile is one. */
  async function keep(message: SignedMessage, scope: string | null): Promise<void> {
    const key = messageKey(message);
    recent.add(key);
    if (recent.size > MAX_RECENT) recent.delete(recent.values().next().value!);
    try {
      await store.put(message, scope);
    } catch (error) {
      recent.delete(key);
      throw error;
    }
    listeners.tell(message, scope);
  }

  /** As keep(), while its carrier is answered: others may have the message before our disk has it. */
  function keepMeanwhile(message: SignedMessage, scope: string | null): void {
    const kept = keep(message, scope)
      .catch((error: unknown) => {
        logger.error({ kind: message.kind, id: message.idHex, error: errorText(error) }, 'a message was not stored');
      })
      .finally(() => keeping.delete(kept));
    keeping.add(kept);
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
  async function judge(message: SignedMessage, scope: string | null, via?: Carrier['via']): Promise<CheckAnswer> {
    const answer = await stageZero(message);
    if (answer.answer === 'accept') {
      if (via === 'gossip' && keeping.size < MAX_UNSTORED) keepMeanwhile(message, scope);
      else await keep(message, scope);
      return answer;
    }
    if (answer.answer === 'reject' || !WORTH_WAITING.includes(answer.code)) return dropped(answer);
    return parking.park(message, scope, answer.code) ? answer : dropped(ignore('TOO_MANY_PARKED'));
  }

  /** One check of a message at a time: gossip and sync may bring it together. */
  function once(key: string, check: () => Promise<CheckAnswer>): Promise<CheckAnswer> {
    const running = checking.get(key) ?? check().finally(() => checking.delete(key));
    checking.set(key, running);
    return running;
  }

  async function checkNew(message: SignedMessage, scope: string | null, carrier: Carrier): Promise<CheckAnswer> {
    const key = messageKey(message);
    const isGossip = carrier.via === 'gossip';
    if (recent.has(key)) return isGossip ? ACCEPT : ignore('DUPLICATE');
    return once(key, async () => {
      if (store.has(message, scope)) return ignore('DUPLICATE');
      const answer = await judge(message, scope, carrier.via);
      const isItsSigners = answer.answer === 'accept' || SIGNERS_DOING.has(answer.code);
      if (isGossip && isItsSigners) signers.charge(message.peerIdString, 1);
      return answer;
    });
  }

  const isWelcome = (publicKey: Uint8Array): boolean => signers.has(peerIdStringOf(peerIdOfPublicKey(publicKey)));

  async function check(envelope: Uint8Array, scope: string | null, carrier: Carrier): Promise<CheckAnswer> {
    await turn();
    const isGossip = carrier.via === 'gossip';
    // What a carrier brought at once may be judged from its beginning.
    const isHeard = !peers.standing.isBanned(carrier.peer) && (!isGossip || gate.isHeard(carrier.peer));
    if (!isHeard) return dropped(ignore('RATE_LIMITED'));
    const opening = openEnvelope(envelope, networkId, verify, isGossip ? isWelcome : undefined);
    if (!opening.ok) return dropped(opening.answer);
    const refusal = misplaced(opening.message, scope, carrier.topic);
    return refusal === null ? checkNew(opening.message, scope, carrier) : dropped(refusal);
  }

  async function isAcceptedNow({ message, scope }: Parked): Promise<boolean> {
    const key = messageKey(message);
    if (recent.has(key) || checking.has(key)) return false;
    return (await once(key, () => judge(message, scope))).answer === 'accept';
  }

  return {
    admit(carrier, count) {
      const admitted = peers.standing.isBanned(carrier) ? 0 : gate.admit(carrier, count);
      if (admitted < count) dropped(ignore('RATE_LIMITED'), count - admitted);
      return admitted;
    },
    async receive(envelope, scope, carrier) {
      if (carrier.via === 'sync') return settle(peers, carrier, await check(envelope, scope, carrier));
      if (!gate.enter(carrier.peer)) return dropped(ignore('RATE_LIMITED'));
      try {
        const answer = await check(envelope, scope, carrier);
        gate.settle(carrier.peer, answer);
        return settle(peers, carrier, answer);
      } finally {
        gate.leave(carrier.peer);
      }
    },
    async keepOwn(message, scope) {
      await once(messageKey(message), async () => {
        if (!recent.has(messageKey(message)) && !store.has(message, scope)) await keep(message, scope);
        return ACCEPT;
      });
    },
    async reconsider(scope) {
      let accepted = 0;
      for (const parked of parking.takeAll(scope)) if (await isAcceptedNow(parked)) accepted++;
      return accepted;
    },
    on: listeners.on,
    ignoredCounts: () => ({ ...ignored }),
    parkedCount: parking.size,
    idle: async () => void (await Promise.all(keeping)),
  };
}

/** [REJECT] a message on a topic of another kind or recipe. Null when it is where it belongs. */
export function misplaced(message: SignedMessage, scope: string | null, topic?: Topic): CheckAnswer | null {
  if (topic !== undefined && !isKindOfTopic(message.kind, topic)) return reject('MALFORMED');
  if (CHANNEL_OF_KIND[message.kind] === 'recipes') return scope === null ? null : reject('MALFORMED');
  return scope !== null && readPayloadHead(message.payload)?.recipeIdHex === scope ? null : reject('MALFORMED');
}

/** Counts for `murmur peers --json`; what can only be the carrier's doing costs it points, since honest peers pass on nothing bad. @returns the answer */
function settle(peers: Peers, carrier: Carrier, answer: CheckAnswer): CheckAnswer {
  if (answer.answer === 'accept') peers.count(carrier.peer, 'messagesAccepted');
  if (answer.answer === 'ignore') peers.count(carrier.peer, 'messagesIgnored');
  if (answer.answer !== 'reject') return answer;
  peers.count(carrier.peer, 'messagesRejected');
  const isForged = ['MALFORMED', 'BAD_SIGNATURE', 'TOO_LARGE'].includes(answer.code);
  if (isForged) peers.standing.penalize(carrier.peer, 'malformed message');
  else if (carrier.via === 'gossip') peers.standing.penalize(carrier.peer, 'rejected message');
  return answer;
}

interface Listeners {
  on(kind: MessageKind, listener: MessageListener): () => void;
  tell(message: SignedMessage, scope: string | null): void;
}

/** A listener that throws is logged; the others still hear. */
function createListeners(logger: Logger): Listeners {
  const byKind = new Map<MessageKind, Set<MessageListener>>();
  return {
    on(kind, listener) {
      const mine = byKind.get(kind) ?? new Set<MessageListener>();
      byKind.set(kind, mine);
      mine.add(listener);
      return () => void mine.delete(listener);
    },
    tell(message, scope) {
      for (const listener of byKind.get(message.kind) ?? []) {
        try {
          listener(message, scope);
        } catch (error) {
          const context = { kind: message.kind, id: message.idHex, error: errorText(error) };
          logger.error(context, 'a listener of messages threw');
        }
      }
    },
  };
}
