// Our use of gossipsub: subscribe with a validator, publish, and publish again what found nobody to hear it.
// Source: design.md "gossip announces, streams carry bodies": frames ≤ 64 KiB, validators < 100 ms, publish has no back-pressure.
// Invariants: what is published while nobody listens is kept (bounded) and sent when the first listener comes; what a peer
// brings beyond what it may is dropped before gossipsub makes an id, a copy to remember and promises of it.

import {
  type GossipSub,
  type Message,
  type SubscriptionChangeData,
  TopicValidatorResult,
} from '@chainsafe/libp2p-gossipsub';
import type { CheckAnswer } from '../protocol/check.ts';
import { errorText } from '../protocol/errors.ts';
import { ANNOUNCEMENT_MAX_BYTES } from '../protocol/limits.ts';
import type { Logger, PeerIdString, Startable } from '../protocol/ports.ts';

/** Messages kept while nobody listens; the oldest leave first. Whoever comes later also gets them by sync. */
const MAX_UNHEARD = 256;
/** A peer's subscription comes on its stream to us; ours to it may open a moment later. */
const STREAM_OPENS_MS = 250;

/** What to make of one message from one peer; it answers in well under 100 ms. */
export type Validate = (data: Uint8Array, from: PeerIdString) => Promise<CheckAnswer>;

export interface Gossip extends Startable {
  subscribe(topic: string, validate: Validate): void;
  /** how many peers it was sent to; 0 keeps it for later */
  publish(topic: string, data: Uint8Array): Promise<number>;
  subscribers(topic: string): readonly PeerIdString[];
}

/** How many of the messages that a peer brings may come in. */
export type Admit = (from: PeerIdString, count: number) => number;

/** A part of gossipsub's class that its interface leaves out: what every frame of a peer goes through once it is decoded. */
interface RpcHandler {
  handleReceivedRpc(from: object, rpc: { readonly messages: readonly unknown[] }): Promise<void>;
}

/** Subscriptions made before start() begin with it. */
export function createGossip(components: {
  readonly pubsub: GossipSub;
  readonly admit: Admit;
  readonly logger: Logger;
}): Gossip {
  const { pubsub, admit, logger } = components;
  const frames = pubsub as unknown as RpcHandler;
  const handleFrame = frames.handleReceivedRpc;
  const wanted = new Map<string, Validate>();
  let unheard: { readonly topic: string; readonly data: Uint8Array }[] = [];
  const timers = new Set<NodeJS.Timeout>();
  /** messages that are being checked: a stop waits for them, since what they read may close next */
  const checks = new Set<Promise<TopicValidatorResult>>();
  let isStarted = false;

  async function send(topic: string, data: Uint8Array): Promise<number> {
    try {
      return (await pubsub.publish(topic, data)).recipients.length;
    } catch (error) {
      if (errorText(error) !== 'PublishError.NoPeersSubscribedToTopic') throw error;
      return 0;
    }
  }

  async function publish(topic: string, data: Uint8Array): Promise<number> {
    const heard = isStarted ? await send(topic, data) : 0;
    if (heard === 0) {
      unheard.push({ topic, data });
      if (unheard.length > MAX_UNHEARD) unheard.shift();
    }
    return heard;
  }

  function onSubscriptions(event: CustomEvent<SubscriptionChangeData>): void {
    const topics = new Set(event.detail.subscriptions.filter((it) => it.subscribe).map((it) => it.topic));
    if (!unheard.some((it) => topics.has(it.topic))) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      const now = unheard.filter((it) => topics.has(it.topic));
      unheard = unheard.filter((it) => !topics.has(it.topic));
      for (const { topic, data } of now) {
        publish(topic, data).catch((error) => logger.warn({ topic, error: errorText(error) }, 'could not publish'));
      }
    }, STREAM_OPENS_MS);
    timers.add(timer);
  }

  /** Cuts the messages that are too much off a frame; its subscriptions and control messages stay. */
  function admitFrames(): void {
    frames.handleReceivedRpc = (from, rpc) => {
      const { length } = rpc.messages;
      const admitted = length === 0 ? 0 : admit(from.toString(), length);
      return handleFrame.call(
        pubsub,
        from,
        length === admitted ? rpc : { ...rpc, messages: rpc.messages.slice(0, admitted) },
      );
    };
  }

  function begin(topic: string, validate: Validate): void {
    pubsub.topicValidators.set(topic, (peer, message) => {
      const check = resultOf(logger, validate, message, peer.toString()).finally(() => checks.delete(check));
      checks.add(check);
      return check;
    });
    pubsub.subscribe(topic);
  }

  return {
    subscribe(topic, validate) {
      wanted.set(topic, validate);
      if (isStarted) begin(topic, validate);
    },
    publish,
    subscribers: (topic) => pubsub.getSubscribers(topic).map(String),
    async start() {
      pubsub.addEventListener('subscription-change', onSubscriptions);
      admitFrames();
      isStarted = true;
      for (const [topic, validate] of wanted) begin(topic, validate);
    },
    async stop() {
      isStarted = false;
      frames.handleReceivedRpc = handleFrame;
      pubsub.removeEventListener('subscription-change', onSubscriptions);
      for (const timer of timers) clearTimeout(timer);
      for (const topic of wanted.keys()) pubsub.topicValidators.delete(topic);
      await Promise.all(checks);
    },
  };
}

/** Gossipsub's word for our answer. An error of ours is never a peer's fault. */
async function resultOf(
  logger: Logger,
  validate: Validate,
  message: Message,
  from: PeerIdString,
): Promise<TopicValidatorResult> {
  if (message.data.length > ANNOUNCEMENT_MAX_BYTES) return TopicValidatorResult.Reject;
  try {
    const { answer } = await validate(message.data, from);
    if (answer === 'accept') return TopicValidatorResult.Accept;
    return answer === 'reject' ? TopicValidatorResult.Reject : TopicValidatorResult.Ignore;
  } catch (error) {
    logger.error({ topic: message.topic, error: errorText(error) }, 'a gossip validator failed');
    return TopicValidatorResult.Ignore;
  }
}
