// The recipes that this node knows: announced by id, fetched as blobs, parsed, and open or not.
// Source: spec/wire.md "A recipe is open". Anybody may announce: what is remembered is bounded, and who was heard of longest ago
// leaves first, but never what is followed.
// Invariants: a recipe is in the book only when its bytes hash to its id, parse, and its announcement was signed by the author that
// it names; an announcement stays on disk while its recipe is in the book or is tried to get.

import { type ResolvedRecipe, resolveRecipe } from '../../recipes/resolve.ts';
import { parseRecipe } from '../../recipes/schema.ts';
import { MAX_OFFERS, OFFER_MAX_AGE_MS } from '../network/offer-shelf.ts';
import { toHex } from '../protocol/bytes.ts';
import { messageKey } from '../protocol/envelope.ts';
import { errorText, SwarmError } from '../protocol/errors.ts';
import { decodeOffer, type TrainerOffer } from '../protocol/offer.ts';
import type { BlobFetcher, BlobStore, Clock, Inbox, Logger, SignedMessage } from '../protocol/ports.ts';
import { decodeRecipeAnnouncement, encodeRecipeAnnouncement } from '../protocol/recipe-announcement.ts';
import { createRecipeFetches } from './recipe-fetches.ts';

/** A recipe is open while one of its trainers was heard of within this time. Source: spec/wire.md. */
const OPEN_MS = OFFER_MAX_AGE_MS;
/** Recipes that are remembered, of all authors and of one; a calibrated or edited recipe is a new one. Our own. */
export const MAX_RECIPES = 1_024;
export const MAX_RECIPES_PER_AUTHOR = 32;
/** Announcements remembered as useless, so that they are not asked for whenever somebody brings them again. Our own. */
const MAX_USELESS = 4_096;

export interface KnownRecipe {
  readonly resolved: ResolvedRecipe;
  /** peer id of the author */
  readonly author: string;
  /** when one of its trainers was last heard of, 0 for never */
  lastHeardMs: number;
  closed: boolean;
}

/** A recipe in the book. */
interface Entry extends KnownRecipe {
  readonly announcement: SignedMessage;
  /** when it came into the book */
  readonly sinceMs: number;
}

export interface KnownOffer {
  readonly publicKeyHex: string;
  readonly peerId: string;
  readonly offer: TrainerOffer;
}

export interface RecipeBook {
  start(): Promise<void>;
  stop(): void;
  get(recipeIdHex: string): KnownRecipe | undefined;
  /** by id prefix or name */
  find(text: string): KnownRecipe | undefined;
  list(): readonly KnownRecipe[];
  offers(): readonly KnownOffer[];
  isOpen(recipeIdHex: string): boolean;
  /** a trainer of this recipe was heard of */
  heard(recipeIdHex: string, atMs: number): void;
  close(recipeIdHex: string): void;
  /** stores, announces and takes in a recipe whose author is this node */
  submit(canonical: Uint8Array): Promise<KnownRecipe>;
  onRecipe(listener: (recipe: KnownRecipe) => void): () => void;
}

export interface RecipeBookComponents {
  readonly inbox: Inbox;
  readonly blobs: BlobStore;
  readonly fetcher: BlobFetcher;
  readonly clock: Clock;
  readonly logger: Logger;
  /** recipes that stay; default none */
  readonly isFollowed?: (recipeIdHex: string) => boolean;
}

export function createRecipeBook(components: RecipeBookComponents): RecipeBook {
  const { inbox, blobs, clock, logger, isFollowed = () => false } = components;
  const recipes = new Map<string, Entry>();
  const offers = new Map<string, KnownOffer>();
  const listeners = new Set<(recipe: KnownRecipe) => void>();
  const stops: (() => void)[] = [];
  const abort = new AbortController();
  const useless = new Set<string>();
  /** submitted here */
  const ours = new Set<string>();
  const fetches = createRecipeFetches(
    { ...components, signal: abort.signal },
    {
      takeIn: (bytes, message) => takeIn(bytes, message) !== null,
      isKnown: (id) => recipes.has(id),
      onGivenUp(message, isForGood) {
        if (isForGood) noteUseless(message);
        forget(message);
      },
    },
  );

  /** @returns null when there is no room for it. @throws {SwarmError} RECIPE_INVALID, and what a recipe that does not parse throws */
  function takeIn(bytes: Uint8Array, announcement: SignedMessage): KnownRecipe | null {
    const resolved = resolveRecipe(parseRecipe(bytes));
    if (resolved.recipe.author !== toHex(announcement.publicKey)) {
      throw new SwarmError('RECIPE_INVALID', 'a recipe is announced by somebody who is not its author', {
        author: resolved.recipe.author,
      });
    }
    const known = recipes.get(resolved.recipeIdHex);
    if (known !== undefined) {
      forgetAgain(announcement, known);
      return known;
    }
    const entry: Entry = {
      ...{ resolved, author: announcement.peerIdString, lastHeardMs: 0, closed: false },
      ...{ announcement, sinceMs: clock.nowMs() },
    };
    if (!ours.has(resolved.recipeIdHex) && !makeRoom(entry.author)) return null;
    for (const { offer, publicKeyHex } of offers.values()) noteOffer(entry, offer, publicKeyHex);
    recipes.set(resolved.recipeIdHex, entry);
    for (const listener of listeners) listener(entry);
    return entry;
  }

  /** @returns false when all that could leave is followed */
  function makeRoom(author: string): boolean {
    const all = [...recipes.values()];
    const ofAuthor = all.filter((each) => each.author === author);
    const isAuthorFull = ofAuthor.length >= MAX_RECIPES_PER_AUTHOR;
    if (!isAuthorFull && all.length < MAX_RECIPES) return true;
    const heardMs = ({ lastHeardMs, sinceMs }: Entry): number => Math.max(lastHeardMs, sinceMs);
    const [oldest] = (isAuthorFull ? ofAuthor : all)
      .filter(({ resolved: { recipeIdHex: id } }) => !isFollowed(id) && !ours.has(id))
      .toSorted((a, b) => heardMs(a) - heardMs(b));
    if (oldest !== undefined) evict(oldest);
    return oldest !== undefined;
  }

  function evict({ resolved, announcement }: Entry): void {
    recipes.delete(resolved.recipeIdHex);
    logger.info({ recipeId: resolved.recipeIdHex }, 'a recipe not heard of for long made room for another');
    forget(announcement);
    blobs.delete(resolved.recipeIdHex).catch(onTrouble);
  }

  function forget(announcement: SignedMessage): void {
    inbox.forget(announcement, null).catch(onTrouble);
  }

  /** One announcement of a recipe is enough. */
  function forgetAgain(announcement: SignedMessage, known: Entry): void {
    if (messageKey(announcement) !== messageKey(known.announcement)) forget(announcement);
  }

  function onTrouble(error: unknown): void {
    logger.warn({ error: errorText(error) }, 'an announcement of a recipe, or the recipe, was not deleted');
  }

  function noteUseless(message: SignedMessage): void {
    useless.add(messageKey(message));
    if (useless.size > MAX_USELESS) useless.delete(useless.values().next().value!);
  }

  async function takeInHere(id: string, message: SignedMessage): Promise<boolean> {
    try {
      return takeIn(await blobs.get(id), message) !== null;
    } catch {
      return false;
    }
  }

  function noteOffer(recipe: Entry, offer: TrainerOffer, publicKeyHex: string): void {
    const trains = offer.trainingRecipeIds.some((id) => toHex(id) === recipe.resolved.recipeIdHex);
    if (trains && recipe.resolved.recipe.trainers.includes(publicKeyHex)) {
      recipe.lastHeardMs = Math.max(recipe.lastHeardMs, Math.min(offer.timeMs, clock.nowMs()));
    }
  }

  function onAnnouncement(message: SignedMessage): void {
    const known = recipes.get(recipeIdOf(message));
    if (useless.has(messageKey(message))) forget(message);
    else if (known === undefined) fetches.add(message);
    else forgetAgain(message, known);
  }

  function onOffer(message: SignedMessage): void {
    const publicKeyHex = toHex(message.publicKey);
    const offer = decodeOffer(message.payload);
    const newest = offers.get(publicKeyHex);
    if (newest !== undefined && newest.offer.timeMs > offer.timeMs) return;
    offers.delete(publicKeyHex);
    offers.set(publicKeyHex, { publicKeyHex, peerId: message.peerIdString, offer });
    if (offers.size > MAX_OFFERS) offers.delete(offers.keys().next().value!);
    for (const id of offer.trainingRecipeIds) {
      const recipe = recipes.get(toHex(id));
      if (recipe !== undefined) noteOffer(recipe, offer, publicKeyHex);
    }
  }

  return {
    async start() {
      stops.push(inbox.on('recipe', onAnnouncement));
      stops.push(inbox.on('offer', onOffer));
      for await (const message of inbox.stored('offer', null)) onOffer(message);
      for await (const message of inbox.stored('recipe', null)) {
        const id = recipeIdOf(message);
        // What is here is taken in before anybody asks; what is not is fetched behind, and what is wrong is told there.
        const isTaken = (await blobs.has(id)) && (await takeInHere(id, message));
        if (!isTaken) onAnnouncement(message);
      }
    },
    stop() {
      abort.abort();
      for (const stop of stops) stop();
    },
    get: (id) => recipes.get(id),
    find(text) {
      const all = [...recipes.values()];
      const byId = /^[0-9a-f]{4,64}$/.test(text) ? all.find((r) => r.resolved.recipeIdHex.startsWith(text)) : undefined;
      return (
        byId ?? all.filter((r) => r.resolved.recipe.name === text).sort((a, b) => b.lastHeardMs - a.lastHeardMs)[0]
      );
    },
    list: () => [...recipes.values()],
    offers: () => [...offers.values()].filter(({ offer }) => clock.nowMs() - offer.timeMs < OFFER_MAX_AGE_MS),
    isOpen(id) {
      const recipe = recipes.get(id);
      return recipe !== undefined && !recipe.closed && clock.nowMs() - recipe.lastHeardMs < OPEN_MS;
    },
    heard(id, atMs) {
      const recipe = recipes.get(id);
      if (recipe !== undefined) recipe.lastHeardMs = Math.max(recipe.lastHeardMs, Math.min(atMs, clock.nowMs()));
    },
    close(id) {
      const recipe = recipes.get(id);
      if (recipe !== undefined) recipe.closed = true;
    },
    async submit(canonical) {
      resolveRecipe(parseRecipe(canonical));
      const hashHex = await blobs.put(canonical);
      ours.add(hashHex);
      const payload = encodeRecipeAnnouncement({
        recipe: { hash: Buffer.from(hashHex, 'hex'), sizeBytes: canonical.length },
        timeMs: clock.nowMs(),
      });
      return takeIn(canonical, await inbox.publish('recipe', payload, null))!;
    },
    onRecipe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function recipeIdOf(announcement: SignedMessage): string {
  return toHex(decodeRecipeAnnouncement(announcement.payload).recipe.hash);
}
