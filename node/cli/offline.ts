// A stopped node, read only: its records through the same inspector and recipe book, with no network behind them.

import { existsSync } from 'node:fs';
import { loadTokenizer, type Tokenizer } from '../model/tokenizer.ts';
import { createInboxStore, type InboxStore } from '../network/inbox-store.ts';
import { fromUtf8, toHex } from '../protocol/bytes.ts';
import { SwarmError } from '../protocol/errors.ts';
import { decodeManifest } from '../protocol/manifest.ts';
import { networkIdOf } from '../protocol/network-id.ts';
import type { BlobFetcher, Inbox } from '../protocol/ports.ts';
import { dataDirLayout, policyFolder } from '../store/data-dir.ts';
import { createStore, type Store } from '../store/store.ts';
import { createInspector, type InspectHandlers } from './inspector.ts';
import { NETWORK_KEY, NODE_RECORDS, STATUS_KEY } from './participant.ts';
import { createRecipeBook, type KnownRecipe, type RecipeBook } from './recipe-book.ts';
import { createLogger, systemClock } from './system.ts';

export interface StoppedNode {
  readonly handlers: InspectHandlers;
}

/** Opens what a node left in `dataDir`, hands it to `use`, closes it. @throws DATA_DIR_IN_USE while one runs there */
export async function withStoppedNode<T>(dataDir: string, use: (node: StoppedNode) => Promise<T>): Promise<T> {
  const logger = createLogger('error');
  const store = await createStore({ dir: dataDir, maxDiskBytes: Number.MAX_SAFE_INTEGER, logger });
  try {
    const network = (await store.records(NODE_RECORDS).get(NETWORK_KEY)) ?? new Uint8Array();
    if (network.length === 0) throw new SwarmError('NOT_FOUND', `no node ever ran on ${dataDir}`, { dataDir });
    const records = createInboxStore({
      records: (name) => store.records(name),
      networkId: networkIdOf(fromUtf8(network)),
      logger,
    });
    const inbox = offlineInbox(records);
    const book = createRecipeBook({ inbox, blobs: store.blobs, fetcher: OFFLINE_FETCHER, clock: systemClock, logger });
    await book.start();
    for (const known of book.list()) await recallEnd(inbox, book, known);
    try {
      return await use(stoppedNode(store, inbox, book, fromUtf8(network)));
    } finally {
      book.stop();
    }
  } finally {
    await store.close();
  }
}

/** Whether a recipe was closed, and when its trainer was last heard of, from the manifests that are kept. */
async function recallEnd(inbox: Inbox, book: RecipeBook, known: KnownRecipe): Promise<void> {
  const id = known.resolved.recipeIdHex;
  for await (const message of inbox.stored('manifest', id)) {
    const { closing, timeMs } = decodeManifest(message.payload);
    book.heard(id, timeMs);
    if (closing) book.close(id);
  }
}

function stoppedNode(store: Store, inbox: Inbox, book: RecipeBook, network: string): StoppedNode {
  const folderOf = (id: string, root: string): string => policyFolder(dataDirLayout(store.dir), id, root);
  /** The tokenizer is the same for every policy of a recipe. */
  async function tokenizerOf(id: string): Promise<Tokenizer | null> {
    for await (const message of inbox.stored('manifest', id)) {
      const folder = folderOf(id, toHex(decodeManifest(message.payload).policyRoot));
      if (existsSync(folder)) return loadTokenizer(folder);
    }
    return null;
  }
  const handlers = createInspector({
    book,
    inbox,
    blobs: store.blobs,
    fetcher: OFFLINE_FETCHER,
    tokenizerOf,
    hasPolicy: async (id, root) => existsSync(folderOf(id, root)),
    peers: async () => [],
    async status() {
      const last = await store.records(NODE_RECORDS).get(STATUS_KEY);
      const left = last === undefined ? { network } : (JSON.parse(fromUtf8(last)) as Record<string, unknown>);
      return { running: false, ...left };
    },
  });
  return { handlers };
}

function offlineInbox(records: InboxStore): Inbox {
  const offline = (): Promise<never> =>
    Promise.reject(new SwarmError('NO_RUNNING_NODE', 'no node runs here, so nothing can be published'));
  return {
    follow: offline,
    publish: offline,
    on: () => () => {},
    async *stored(kind, scope) {
      for await (const { message } of records.read(kind, scope)) yield message;
    },
    // What is only read stays as it is.
    forget: async () => {},
    reconsider: async () => 0,
    ignoredCounts: () => ({}),
  };
}

const missing = (hashHex: string): Promise<never> =>
  Promise.reject(new SwarmError('BLOB_MISSING', `${hashHex} is not here, and no network is`));

const OFFLINE_FETCHER: BlobFetcher = {
  fetch: missing,
  range: (_peer, hashHex) => missing(hashHex),
  have: async (_peer, hashes) => hashes.map(() => false),
  connectedPeers: () => [],
};
