// Recipes that were announced and are not here yet: each is asked for in turn until it is here, or was asked for often enough.
// Source: spec/wire.md, kind "recipe" (announced by id, fetched as a blob). Anybody may announce what nobody has: an attempt holds
// a place, and after it the announcement goes behind all others that wait.
// Invariants: what is added ends once, obtained or given up; a blob is asked for once at a time; no more wait than MAX_WAITING.

import { toHex } from '../protocol/bytes.ts';
import { errorText, SwarmError } from '../protocol/errors.ts';
import { RECIPE_MAX_BYTES } from '../protocol/limits.ts';
import type { BlobFetcher, BlobStore, Clock, Logger, PeerIdString, SignedMessage } from '../protocol/ports.ts';
import { decodeRecipeAnnouncement } from '../protocol/recipe-announcement.ts';

const FETCH_TIMEOUT_MS = 30_000;
const RETRY_MS = 5_000;
const MAX_TRIES = 12;
/** Announcements that wait, of all signers and of one; fetches at once, of all and of one. Our own. */
export const MAX_WAITING = 1_024;
const MAX_WAITING_PER_SIGNER = 32;
const MAX_FETCHES = 256;
const MAX_FETCHES_PER_SIGNER = 4;

export interface RecipeFetches {
  add(message: SignedMessage): void;
}

export interface RecipeFetchesComponents {
  readonly blobs: BlobStore;
  readonly fetcher: BlobFetcher;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface RecipeFetchesInit {
  /**
   * @returns false when there is no room for it now
   * @throws {SwarmError} RECIPE_… for bytes that are no recipe of the signer's: it is not asked for again
   */
  readonly takeIn: (bytes: Uint8Array, message: SignedMessage) => boolean;
  /** it is already in the book: nothing is to be fetched */
  readonly isKnown: (recipeIdHex: string) => boolean;
  /** an announcement of which nothing came; `isForGood` unless it only had to make room */
  readonly onGivenUp: (message: SignedMessage, isForGood: boolean) => void;
}

interface Wanted {
  readonly message: SignedMessage;
  readonly hashHex: string;
  readonly sizeBytes: number;
  readonly tries: number;
}

/** Nothing waits at first. */
export function createRecipeFetches(components: RecipeFetchesComponents, init: RecipeFetchesInit): RecipeFetches {
  const { blobs, fetcher, clock, logger, signal } = components;
  const waiting: Wanted[] = [];
  /** those whose next try is not due yet */
  const paused = new Set<Wanted>();
  /** by hash: who announced what is being fetched */
  const fetching = new Map<string, PeerIdString>();

  const isFree = ({ hashHex, message }: Wanted): boolean => {
    if (fetching.has(hashHex)) return false;
    const ofSigner = [...fetching.values()].filter((signer) => signer === message.peerIdString).length;
    return ofSigner < MAX_FETCHES_PER_SIGNER;
  };

  function fill(): void {
    while (!signal.aborted && fetching.size < MAX_FETCHES) {
      const next = waiting.findIndex(isFree);
      if (next < 0) return;
      start(waiting.splice(next, 1)[0]!);
    }
  }

  function start(wanted: Wanted): void {
    fetching.set(wanted.hashHex, wanted.message.peerIdString);
    void attempt(wanted)
      .then((isOver) => {
        if (!isOver) void pause({ ...wanted, tries: wanted.tries + 1 });
      })
      .finally(() => {
        fetching.delete(wanted.hashHex);
        fill();
      });
  }

  /** @returns false when it is to be tried again */
  async function attempt({ message, hashHex, sizeBytes, tries }: Wanted): Promise<boolean> {
    let wasHere = true;
    try {
      wasHere = await blobs.has(hashHex);
      const from = [message.peerIdString];
      const bytes = wasHere
        ? await blobs.get(hashHex)
        : await fetcher.fetch(hashHex, { sizeBytes, from, timeoutMs: FETCH_TIMEOUT_MS, signal });
      if (init.takeIn(bytes, message)) return true;
      logger.warn({ recipeId: hashHex }, 'no room for another recipe: all that are known are followed');
      if (!wasHere) await blobs.delete(hashHex);
      init.onGivenUp(message, false);
      return true;
    } catch (error) {
      if (signal.aborted) return true;
      const isBroken = error instanceof SwarmError && error.code.startsWith('RECIPE_');
      logger.warn(
        { recipeId: hashHex, error: errorText(error) },
        isBroken ? 'refused a recipe' : 'could not get a recipe',
      );
      if (!isBroken && tries + 1 < MAX_TRIES) return false;
      init.onGivenUp(message, true);
      // What was here before it was announced is not its announcer's to delete.
      if (isBroken && !wasHere && !init.isKnown(hashHex)) await blobs.delete(hashHex).catch(() => undefined);
      return true;
    }
  }

  async function pause(wanted: Wanted): Promise<void> {
    paused.add(wanted);
    await clock.sleep(RETRY_MS, signal);
    paused.delete(wanted);
    enqueue(wanted);
    fill();
  }

  /** Behind all that wait already; when there are too many, the one tried most often leaves, the oldest of those. */
  function enqueue(wanted: Wanted): void {
    waiting.push(wanted);
    if (waiting.length + paused.size > MAX_WAITING) {
      const most = Math.max(...waiting.map(({ tries }) => tries));
      const left = waiting.splice(
        waiting.findIndex(({ tries }) => tries === most),
        1,
      )[0]!;
      logger.warn({ signer: left.message.peerIdString }, 'too many recipes are announced, one is left out');
      init.onGivenUp(left.message, false);
    }
  }

  return {
    add(message) {
      const { recipe } = decodeRecipeAnnouncement(message.payload);
      const ofSigner = [...waiting, ...paused].filter(
        (each) => each.message.peerIdString === message.peerIdString,
      ).length;
      if (ofSigner >= MAX_WAITING_PER_SIGNER) return init.onGivenUp(message, false);
      enqueue({
        message,
        hashHex: toHex(recipe.hash),
        sizeBytes: Math.min(recipe.sizeBytes, RECIPE_MAX_BYTES),
        tries: 0,
      });
      fill();
    },
  };
}
