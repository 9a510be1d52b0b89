// Names of gossip topics and stream protocols. Source: spec/wire.md "Topics".
// Invariant: topicOf and parseTopic are inverse; what is said on a topic is one of the kinds it carries.

import { SwarmError } from './errors.ts';
import type { MessageKind } from './ports.ts';

/** What is gossiped: all recipes and offers of a network, or one recipe's groups, verdicts (and step secrets), weights. */
export type Channel = 'recipes' | 'groups' | 'verdicts' | 'weights';

export interface Topic {
  readonly network: string;
  readonly channel: Channel;
  /** hex; null on the recipes channel */
  readonly recipeIdHex: string | null;
}

export const BLOB_PROTOCOL: string = '/murmuration/blob/1';
export const SYNC_PROTOCOL: string = '/murmuration/sync/1';
export const HAVE_PROTOCOL: string = '/murmuration/have/1';

/** Channel that a kind of message is gossiped on. */
export const CHANNEL_OF_KIND: Readonly<Record<MessageKind, Channel>> = {
  recipe: 'recipes',
  offer: 'recipes',
  group: 'groups',
  verdict: 'verdicts',
  secret: 'verdicts',
  manifest: 'weights',
  continuation: 'weights',
};

/** Every kind there is. */
export const MESSAGE_KINDS: readonly MessageKind[] = Object.keys(CHANNEL_OF_KIND) as MessageKind[];

const TOPIC = /^\/murmuration\/([A-Za-z0-9._-]{1,64})\/(?:(recipes)|([0-9a-f]{64})\/(groups|verdicts|weights))\/1$/;

/** Whether a text names a kind of message. */
export function isMessageKind(text: string): text is MessageKind {
  return Object.hasOwn(CHANNEL_OF_KIND, text);
}

/** Where recipes and offers are announced. */
export function recipesTopic(network: string): string {
  return `/murmuration/${network}/recipes/1`;
}

/** Where one recipe's groups, verdicts or weights are announced. */
export function recipeTopic(network: string, recipeIdHex: string, channel: Exclude<Channel, 'recipes'>): string {
  return `/murmuration/${network}/${recipeIdHex}/${channel}/1`;
}

/** The three topics of one recipe. */
export function topicsOfRecipe(network: string, recipeIdHex: string): readonly string[] {
  return (['groups', 'verdicts', 'weights'] as const).map((channel) => recipeTopic(network, recipeIdHex, channel));
}

/**
 * The topic a message is published on.
 * @param recipeIdHex the recipe it belongs to; not looked at for kinds of the recipes channel
 * @throws {SwarmError} INTERNAL when another kind comes without a recipe
 */
export function topicOf(network: string, kind: MessageKind, recipeIdHex: string | null): string {
  const channel = CHANNEL_OF_KIND[kind];
  if (channel === 'recipes') return recipesTopic(network);
  if (recipeIdHex === null)
    throw new SwarmError('INTERNAL', `a ${kind} is published for one recipe; name it`, { kind });
  return recipeTopic(network, recipeIdHex, channel);
}

/** Parts of one of our topics, null for any other text. */
export function parseTopic(topic: string): Topic | null {
  const match = TOPIC.exec(topic);
  if (match === null) return null;
  const [, network, recipes, recipeIdHex, channel] = match;
  return recipes !== undefined
    ? { network: network!, channel: 'recipes', recipeIdHex: null }
    : { network: network!, channel: channel as Channel, recipeIdHex: recipeIdHex! };
}

/** Whether a kind may be said on a topic. */
export function isKindOfTopic(kind: MessageKind, topic: Topic): boolean {
  return CHANNEL_OF_KIND[kind] === topic.channel;
}
