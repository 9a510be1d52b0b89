// What the network tests share: hosts on 127.0.0.1 in one process, memory stores, payloads with the fields the inbox reads.
// Invariant: whatever a test made here is stopped by `close()`.

import { create, toBinary } from '@bufbuild/protobuf';
import { createNetwork, type Network, type NetworkInit } from '../../../node/network/network.ts';
import { fromHex, sha256, toHex, utf8 } from '../../../node/protocol/bytes.ts';
import { SwarmError } from '../../../node/protocol/errors.ts';
import { createKeyPair, type KeyPair } from '../../../node/protocol/keys.ts';
import { GroupSchema, ManifestSchema, VerdictSchema } from '../../../node/protocol/messages_pb.ts';
import type { BlobStore, Clock, Logger, Records } from '../../../node/protocol/ports.ts';

export const NETWORK = 'test';
export const RECIPE: string = toHex(sha256('a recipe'));

export const clock: Clock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done);
      if (signal?.aborted) done();
    }),
};

/** Waits a tenth of what is asked: for retries and back-off. */
export const hastyClock: Clock = { ...clock, sleep: (ms, signal) => clock.sleep(ms / 10, signal) };

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly context: Readonly<Record<string, unknown>>;
}

export function createTestLogger(): Logger & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: string) => (context: object, message: string) =>
    void lines.push({ level, message, context: context as Record<string, unknown> });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export function createMemoryRecords(): Records {
  const map = new Map<string, Uint8Array>();
  return {
    get: async (key) => map.get(key),
    has: (key) => map.has(key),
    put: async (key, value) => void map.set(key, value),
    delete: async (key) => void map.delete(key),
    async batch(entries) {
      for (const [key, value] of entries) {
        if (value === null) map.delete(key);
        else map.set(key, value);
      }
    },
    async *entries(range = {}) {
      const keys = [...map.keys()].filter(
        (key) => (range.gte === undefined || key >= range.gte) && (range.lt === undefined || key < range.lt),
      );
      keys.sort();
      if (range.reverse) keys.reverse();
      for (const key of keys.slice(0, range.limit ?? keys.length)) {
        const value = map.get(key);
        if (value !== undefined) yield [key, value] as const;
      }
    },
  };
}

export interface MemoryBlobs extends BlobStore {
  /** serves these bytes under a hash that is not theirs */
  poison(hashHex: string, bytes: Uint8Array): void;
}

export function createMemoryBlobs(): MemoryBlobs {
  const map = new Map<string, Uint8Array>();
  const get = (hashHex: string): Uint8Array => {
    const bytes = map.get(hashHex);
    if (bytes === undefined) throw new SwarmError('BLOB_MISSING', `no blob ${hashHex}`);
    return bytes;
  };
  return {
    poison: (hashHex, bytes) => void map.set(hashHex, bytes),
    has: async (hashHex) => map.has(hashHex),
    sizeBytes: async (hashHex) => map.get(hashHex)?.length ?? null,
    async put(bytes) {
      const hashHex = toHex(sha256(bytes));
      map.set(hashHex, bytes);
      return hashHex;
    },
    get: async (hashHex) => get(hashHex),
    read: async (hashHex, offset, length) => get(hashHex).slice(offset, offset + length),
    delete: async (hashHex) => void map.delete(hashHex),
    async *list() {
      for (const [hashHex, bytes] of map) yield { hashHex, sizeBytes: bytes.length };
    },
  };
}

export interface TestNode extends Network {
  readonly keyPair: KeyPair;
  readonly store: MemoryBlobs;
  readonly records: (name: string) => Records;
  readonly logger: ReturnType<typeof createTestLogger>;
}

export interface TestNodeInit {
  readonly bootstrap?: readonly string[];
  readonly settings?: Partial<NetworkInit>;
  readonly follow?: readonly string[];
  readonly keyPair?: KeyPair;
  readonly records?: (name: string) => Records;
}

export interface Swarm {
  node(init?: TestNodeInit): Promise<TestNode>;
  close(): Promise<void>;
}

export function createSwarm(): Swarm {
  const nodes: TestNode[] = [];
  return {
    async node(init = {}) {
      const node = await startNode(init);
      nodes.push(node);
      return node;
    },
    close: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  };
}

async function startNode(init: TestNodeInit): Promise<TestNode> {
  const keyPair = init.keyPair ?? createKeyPair();
  const logger = createTestLogger();
  const stores = new Map<string, Records>();
  const records = init.records ?? ((name: string) => opened(stores, name));
  const blobs = createMemoryBlobs();
  const network = await createNetwork(
    { records, blobs },
    {
      keyPair,
      networkName: NETWORK,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      bootstrap: init.bootstrap ?? [],
      mdns: false,
      dht: false,
      loopback: true,
      logger,
      clock,
      stageZero: {},
      ...init.settings,
    },
  );
  for (const recipe of init.follow ?? []) await network.inbox.follow(recipe);
  await network.start();
  let isStopped = false;
  return {
    ...network,
    keyPair,
    store: blobs,
    records,
    logger,
    async stop() {
      if (isStopped) return;
      isStopped = true;
      await network.stop();
    },
  };
}

function opened(stores: Map<string, Records>, name: string): Records {
  const known = stores.get(name) ?? createMemoryRecords();
  stores.set(name, known);
  return known;
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

export function groupPayload(slot: number, recipeIdHex: string = RECIPE, policyStep = 0): Uint8Array {
  return toBinary(GroupSchema, create(GroupSchema, { recipeId: fromHex(recipeIdHex), policyStep, slot }));
}

export function manifestPayload(policyStep: number, recipeIdHex: string = RECIPE): Uint8Array {
  return toBinary(ManifestSchema, create(ManifestSchema, { recipeId: fromHex(recipeIdHex), policyStep }));
}

export function verdictPayload(slot: number, recipeIdHex: string = RECIPE): Uint8Array {
  return toBinary(VerdictSchema, create(VerdictSchema, { recipeId: fromHex(recipeIdHex), slot, groupId: utf8('g') }));
}
