// What every participant runs, whatever its role: store, host, inbox, blobs, sync, the book of recipes, the chain of
// policies of each recipe that is followed, and the control socket. Roles are built on top of it.
// Invariant: `stop` undoes `start` in reverse order, whatever had been reached.

import { statfs } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import type { Recipe } from '../../recipes/schema.ts';
import { createPolicyChain, type PolicyChainService } from '../../shardcast/chain.ts';
import { createShardFetcher } from '../../shardcast/fetch.ts';
import { createPolicyFolders, type ModelTexts, type PolicyFolders } from '../../shardcast/policies.ts';
import { KEEP_RECORD_STEPS } from '../../trainer/ledger.ts';
import { type AcceptedPeers, createAcceptedPeers } from '../../verifier/accepted-peers.ts';
import { placesOf } from '../../verifier/checks/places.ts';
import { LATE_STEPS } from '../../verifier/checks/stage-zero.ts';
import type { Verifier } from '../../verifier/service.ts';
import { loadTokenizer, type Tokenizer } from '../model/tokenizer.ts';
import type { Host, HostInit } from '../network/host.ts';
import type { NetworkInbox } from '../network/inbox.ts';
import type { NetworkMeter } from '../network/metrics.ts';
import { createNetwork } from '../network/network.ts';
import { utf8 } from '../protocol/bytes.ts';
import { isSwarmError, SwarmError } from '../protocol/errors.ts';
import type { KeyPair } from '../protocol/keys.ts';
import type { BlobFetcher, Logger, SamplingSettings, SignedMessage } from '../protocol/ports.ts';
import { dataDirLayout } from '../store/data-dir.ts';
import { createStore, type Store } from '../store/store.ts';
import type { EmitEvent } from './events.ts';
import { passphrase } from './identity.ts';
import type { NetworkOptions } from './options.ts';
import { createRecipeBook, type KnownRecipe, type RecipeBook } from './recipe-book.ts';
import { packageVersion } from './shipped.ts';
import { createStageZero, type StageZeroChecks } from './stage-zero.ts';
import { systemClock } from './system.ts';

const FORGET_EVERY_STEPS = 10;

/** A recipe that this participant follows. */
export interface FollowedRecipe {
  readonly known: KnownRecipe;
  readonly chain: PolicyChainService;
  readonly policies: PolicyFolders;
  /** who is known by what the recipe's verifiers said */
  readonly accepted: AcceptedPeers;
  /** of the newest policy that is here; null while none is */
  tokenizer(): Promise<Tokenizer | null>;
  /** how its rollouts are sampled, `tokenCount` from the tokenizer */
  sampling(tokenizer: Tokenizer): SamplingSettings;
}

export interface Participant {
  readonly store: Store;
  readonly keyPair: KeyPair;
  readonly host: Host;
  readonly inbox: NetworkInbox;
  readonly fetcher: BlobFetcher;
  readonly meter: NetworkMeter;
  readonly book: RecipeBook;
  readonly logger: Logger;
  followed(): readonly FollowedRecipe[];
  /** starts to follow a recipe, or gives what is followed already */
  follow(known: KnownRecipe, options?: FollowOptions): Promise<FollowedRecipe>;
  /** asks the verifier that runs here from now on whose groups are ignored, and who is known */
  setVerifier(of: VerifierOf): void;
  stop(): Promise<void>;
}

/** What is kept here of a recipe's peers and its other verifiers; null while nothing is. */
export type VerifierOf = (recipeIdHex: string) => {
  readonly standing: Pick<Verifier['standing'], 'isQuarantined' | 'isKnown'>;
  readonly verifiers: Pick<Verifier['verifiers'], 'isStranger'>;
} | null;

export interface FollowOptions {
  /** a trainer has the model's texts already */
  readonly texts?: ModelTexts;
  /** `all` kept policies (verifier, trainer), or only the `newest` (node, observer) */
  readonly keep?: 'all' | 'newest';
}

export interface ParticipantComponents {
  readonly emit: EmitEvent;
  readonly logger: Logger;
}

/** Records about this node itself: the network it was in, the status it last told. */
export const NODE_RECORDS = 'node';
export const NETWORK_KEY = 'network';
export const STATUS_KEY = 'status';

const TCP = (host: string, port: number): string => `/ip4/${host}/tcp/${port}`;

/** Where to listen: TCP on the port, WebSocket on the next (or any free ones). @throws {SwarmError} BAD_ADDRESS */
function listenAddresses(options: NetworkOptions): string[] {
  const host = options.loopback ? '127.0.0.1' : options.host;
  if (!isIPv4(host)) {
    throw new SwarmError(
      'BAD_ADDRESS',
      `--host takes an IPv4 address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them; got ${host}`,
      { host },
    );
  }
  return [TCP(host, options.port), `${TCP(host, options.port === 0 ? 0 : options.port + 1)}/ws`];
}

function networkInit(options: NetworkOptions, keyPair: KeyPair, logger: Logger): HostInit {
  return {
    keyPair,
    networkName: options.network,
    listen: listenAddresses(options),
    bootstrap: options.join,
    mdns: options.mdns && !options.loopback,
    // A loopback swarm has no mDNS: its members find each other through the one they joined.
    dht: true,
    loopback: options.loopback,
    relay: options.loopback ? 'none' : options.relay ? 'server' : 'client',
    datastoreDir: join(options.dataDir, 'peers'),
    logger,
    clock: systemClock,
    agent: `murmuration/${packageVersion()}`,
  };
}

/** Steps before this one are of no use to anybody who asks what went before. */
function floorStep(followed: FollowedRecipe | undefined): number | null {
  const newest = followed?.chain.announced()?.policyStep;
  if (followed === undefined || newest === undefined) return null;
  return newest - followed.known.resolved.recipe.staleness.maxLagSteps;
}

/** What to tell when the disk has less room than it may be filled with; null when it has more. */
async function littleRoom({ dataDir, maxDisk }: NetworkOptions): Promise<string | null> {
  const { bavail, bsize } = await statfs(dataDir);
  const free = bavail * bsize;
  if (free >= maxDisk) return null;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
  return `only ${gigabytes(free)} are free for ${dataDir}, --max-disk is ${gigabytes(maxDisk)}: free some, or lower it`;
}

/** Opens the data directory and joins the network. @throws whatever store and host throw; nothing is left running then */
export async function createParticipant(
  components: ParticipantComponents,
  options: NetworkOptions,
): Promise<Participant> {
  const { emit, logger } = components;
  const undo: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const store = await createStore({ dir: options.dataDir, maxDiskBytes: options.maxDisk, logger });
    undo.push(() => store.close());
    const keyPair = await store.identity(passphrase());
    await store.records(NODE_RECORDS).put(NETWORK_KEY, utf8(options.network));
    const follows = new Map<string, FollowedRecipe>();
    const isOpen = (id: string): boolean => book.isOpen(id);
    let verifierOf: VerifierOf = () => null;
    const stageZero = createStageZero({ follows, isOpen, verifierOf: (id) => verifierOf(id) });
    const network = await createNetwork(
      { records: (name) => store.records(name), blobs: store.blobs },
      {
        ...networkInit(options, keyPair, logger),
        stageZero: stageZero.checks,
        floorStep: (id) => floorStep(follows.get(id)),
      },
    );
    const { host, inbox, blobs: fetcher, meter } = network;
    const book = createRecipeBook({
      ...{ inbox, blobs: store.blobs, fetcher, clock: systemClock, logger },
      isFollowed: (id) => follows.has(id),
    });
    const follow = createFollow({
      store,
      inbox,
      fetcher,
      follows,
      book,
      emit,
      logger,
      undo,
      stageZero,
    });
    undo.push(
      host.onEvent((event) => (event.kind === 'unreachable' ? emit({ event: 'notice', text: event.text }) : undefined)),
    );
    undo.push(() => network.stop());
    await network.start();
    undo.push(() => book.stop());
    await book.start();
    const little = await littleRoom(options);
    if (little !== null) emit({ event: 'notice', text: little });
    if (options.join.length === 0 && !options.loopback) {
      const where = options.mdns
        ? 'peers on the local network (mDNS) and those known from before'
        : 'peers known from before';
      emit({ event: 'notice', text: `no --join given: looking for ${where}` });
    }
    return {
      store,
      keyPair,
      host,
      inbox,
      fetcher,
      meter,
      book,
      logger,
      followed: () => [...follows.values()],
      follow,
      setVerifier(of) {
        verifierOf = of;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface FollowComponents {
  readonly store: Store;
  readonly inbox: NetworkInbox;
  readonly fetcher: BlobFetcher;
  readonly follows: Map<string, FollowedRecipe>;
  readonly book: RecipeBook;
  readonly emit: EmitEvent;
  readonly logger: Logger;
  readonly undo: (() => Promise<void> | void)[];
  readonly stageZero: StageZeroChecks;
}

/** However many come, this many of a kind stay: twice what takes places of the steps that still matter. */
function maxKeptMessages(recipe: Recipe): number {
  return 4 * placesOf(recipe) * (recipe.staleness.maxLagSteps + LATE_STEPS + 1);
}

function createFollow(components: FollowComponents): Participant['follow'] {
  const { store, inbox, fetcher, follows, book, logger } = components;
  return async (known, options = {}) => {
    const { resolved } = known;
    const id = resolved.recipeIdHex;
    const already = follows.get(id);
    if (already !== undefined) return already;
    const policies = createPolicyFolders(join(dataDirLayout(store.dir).policies, id));
    const shards = createShardFetcher({ fetcher, blobs: store.blobs, clock: systemClock, logger });
    const chain = createPolicyChain(
      { inbox, blobs: store.blobs, fetcher, shards, policies, clock: systemClock, logger },
      {
        recipe: resolved,
        follow: options.keep ?? 'newest',
        ...(options.texts === undefined ? {} : { texts: options.texts }),
      },
    );
    const followed: FollowedRecipe = {
      known,
      chain,
      policies,
      accepted: createAcceptedPeers(resolved.recipe),
      tokenizer: createTokenizerCache(chain, policies),
      sampling: (tokenizer) => ({ ...resolved.recipe.sampling, tokenCount: tokenizer.vocabSize }),
    };
    follows.set(id, followed);
    chain.onReady((policy) => {
      components.emit({ event: 'policy', recipeId: id, policyStep: policy.policyStep, policyRoot: policy.policyRoot });
    });
    let forgetAt = 0;
    const onManifest = (_message: SignedMessage, scope: string | null): void => {
      if (scope !== id) return;
      book.heard(id, systemClock.nowMs());
      const newest = chain.announced();
      if (newest?.closing === true) book.close(id);
      const policyStep = newest?.policyStep ?? 0;
      components.stageZero.moveTo(followed, policyStep);
      if (policyStep >= forgetAt) {
        forgetAt = policyStep + FORGET_EVERY_STEPS;
        inbox
          .forgetBefore(id, policyStep - KEEP_RECORD_STEPS, maxKeptMessages(resolved.recipe))
          .catch((error: unknown) => logger.warn({ error: String(error) }, 'old messages were not deleted'));
      }
    };
    await chain.start();
    components.undo.push(() => chain.stop());
    components.undo.push(inbox.on('manifest', onManifest));
    components.undo.push(
      inbox.on('verdict', (message, scope) => (scope === id ? followed.accepted.hear(message) : undefined)),
    );
    await components.stageZero.recall(inbox, followed);
    await inbox.follow(id);
    return followed;
  };
}

/** The tokenizer is the same for every policy of a recipe: loaded once, also when it takes longer than it may. */
function createTokenizerCache(chain: PolicyChainService, policies: PolicyFolders): () => Promise<Tokenizer | null> {
  let loaded: Tokenizer | null = null;
  let tooSlow: unknown = null;
  return async () => {
    const ready = chain.ready();
    if (tooSlow !== null) throw tooSlow;
    if (loaded !== null || ready === null) return loaded;
    try {
      loaded = await loadTokenizer(policies.dirOf(ready.policyRoot));
    } catch (error) {
      if (isSwarmError(error, 'TOKENIZER_TOO_SLOW')) tooSlow = error;
      throw error;
    }
    return loaded;
  };
}
