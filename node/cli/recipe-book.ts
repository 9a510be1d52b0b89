// The recipes that this node knows: announced by id, fetched as blobs, parsed, and open or not.
// Source: spec/wire.md "A recipe is open". Invariant: a recipe is in the book only when its bytes hash to its id,
// parse, and its announcement was signed by the author that it names.

import { type ResolvedRecipe, resolveRecipe } from '../../recipes/resolve.ts';
import { parseRecipe } from '../../recipes/schema.ts';
import { toHex } from '../protocol/bytes.ts';
import { errorText, SwarmError } from '../protocol/errors.ts';
import { RECIPE_MAX_BYTES } from '../protocol/limits.ts';
import { decodeOffer, type TrainerOffer } from '../protocol/offer.ts';
import type { BlobFetcher, BlobStore, Clock, Inbox, Logger, SignedMessage } from '../protocol/ports.ts';
import { decodeRecipeAnnouncement, encodeRecipeAnnouncement } from '../protocol/recipe-announcement.ts';

/** A recipe is open while one of its trainers was heard of within this time. Source: spec/wire.md. */
const OPEN_MS = 10 * 60_000;
const FETCH_TIMEOUT_MS = 30_000;
const RETRY_MS = 5_000;
const MAX_TRIES = 12;
/** Anybody may announce: what is remembered and asked for is bounded. */
const MAX_RECIPES = 1_024;
const MAX_OFFERS = 1_024;
const MAX_FETCHES = 256;
const MAX_FETCHES_PER_SIGNER = 4;

export interface KnownRecipe {
  readonly resolved: ResolvedRecipe;
  /** peer id of the author */
  readonly author: string;
  /** when one of its trainers was last heard of, 0 for never */
  lastHeardMs: number;
  closed: boolean;
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
}

export function createRecipeBook(components: RecipeBookComponents): RecipeBook {
  const { inbox, blobs, clock, logger } = components;
  const recipes = new Map<string, KnownRecipe>();
  const offers = new Map<string, KnownOffer>();
  const listeners = new Set<(recipe: KnownRecipe) => void>();
  const stops: (() => void)[] = [];
  const abort = new AbortController();
  /** signers of the announcements that are being fetched */
  const fetching: string[] = [];

  function takeIn(bytes: Uint8Array, signer: SignedMessage): KnownRecipe {
    const resolved = resolveRecipe(parseRecipe(bytes));
    if (resolved.recipe.author !== toHex(signer.publicKey)) {
      throw new SwarmError('RECIPE_INVALID', 'a recipe is announced by somebody who is not its author', {
        author: resolved.recipe.author,
      });
    }
    const known = recipes.get(resolved.recipeIdHex);
    if (known !== undefined) return known;
    const recipe: KnownRecipe = { resolved, author: signer.peerIdString, lastHeardMs: 0, closed: false };
    for (const { offer, publicKeyHex } of offers.values()) noteOffer(recipe, offer, publicKeyHex);
    recipes.set(resolved.recipeIdHex, recipe);
    for (const listener of listeners) listener(recipe);
    return recipe;
  }

  function noteOffer(recipe: KnownRecipe, offer: TrainerOffer, publicKeyHex: string): void {
    const trains = offer.trainingRecipeIds.some((id) => toHex(id) === recipe.resolved.recipeIdHex);
    if (trains && recipe.resolved.recipe.trainers.includes(publicKeyHex)) {
      recipe.lastHeardMs = Math.max(recipe.lastHeardMs, Math.min(offer.timeMs, clock.nowMs()));
    }
  }

  async function onAnnouncement(message: SignedMessage): Promise<void> {
    const ofSigner = fetching.filter((signer) => signer === message.peerIdString).length;
    if (recipes.size >= MAX_RECIPES || fetching.length >= MAX_FETCHES || ofSigner >= MAX_FETCHES_PER_SIGNER) {
      logger.warn({ signer: message.peerIdString }, 'too many recipes are announced, one is left out');
      return;
    }
    fetching.push(message.peerIdString);
    try {
      await obtain(message);
    } finally {
      fetching.splice(fetching.indexOf(message.peerIdString), 1);
    }
  }

  async function obtain(message: SignedMessage): Promise<void> {
    const { recipe } = decodeRecipeAnnouncement(message.payload);
    const hashHex = toHex(recipe.hash);
    for (let attempt = 1; attempt <= MAX_TRIES && !abort.signal.aborted && !recipes.has(hashHex); attempt++) {
      try {
        const bytes = (await blobs.has(hashHex))
          ? await blobs.get(hashHex)
          : await components.fetcher.fetch(hashHex, {
              sizeBytes: Math.min(recipe.sizeBytes, RECIPE_MAX_BYTES),
              from: [message.peerIdString],
              timeoutMs: FETCH_TIMEOUT_MS,
              signal: abort.signal,
            });
        takeIn(bytes, message);
      } catch (error) {
        const broken = error instanceof SwarmError && error.code.startsWith('RECIPE_');
        logger.warn(
          { recipeId: hashHex, error: errorText(error) },
          broken ? 'refused a recipe' : 'could not get a recipe',
        );
        if (broken) return;
        await clock.sleep(RETRY_MS, abort.signal);
      }
    }
  }

  function onOffer(message: SignedMessage): void {
    const publicKeyHex = toHex(message.publicKey);
    const offer = decodeOffer(message.payload);
    const newest = offers.get(publicKeyHex);
    if (newest !== undefined && newest.offer.timeMs > offer.timeMs) return;
    if (newest === undefined && offers.size >= MAX_OFFERS) offers.delete(offers.keys().next().value!);
    offers.set(publicKeyHex, { publicKeyHex, peerId: message.peerIdString, offer });
    for (const recipe of recipes.values()) noteOffer(recipe, offer, publicKeyHex);
  }

  return {
    async start() {
      stops.push(inbox.on('recipe', (message) => void onAnnouncement(message)));
      stops.push(inbox.on('offer', onOffer));
      for await (const message of inbox.stored('offer', null)) onOffer(message);
      for await (const message of inbox.stored('recipe', null)) {
        // What is here is taken in before anybody asks; what is not is fetched behind.
        const isHere = await blobs.has(toHex(decodeRecipeAnnouncement(message.payload).recipe.hash));
        const done = onAnnouncement(message);
        if (isHere) await done;
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
    offers: () => [...offers.values()],
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
      const payload = encodeRecipeAnnouncement({
        recipe: { hash: Buffer.from(hashHex, 'hex'), sizeBytes: canonical.length },
        timeMs: clock.nowMs(),
      });
      return takeIn(canonical, await inbox.publish('recipe', payload, null));
    },
    onRecipe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
