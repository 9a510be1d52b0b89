// The store's ports in memory, for tests of services. Held to the same contract as the real one (test/contract/store.ts).

import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import type { Records } from '../../node/protocol/ports.ts';
import type { BlobFiles } from '../../node/store/blobs.ts';
import type { Store } from '../../node/store/store.ts';

/** Records in a map. */
export function memoryRecords(): Records {
  const values = new Map<string, Uint8Array>();
  const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
  return {
    get: async (key) => values.get(key)?.slice(),
    has: (key) => values.has(key),
    put: async (key, value) => void values.set(key, value.slice()),
    delete: async (key) => void values.delete(key),
    batch: async (entries) => {
      for (const [key, value] of entries) {
        if (value === null) values.delete(key);
        else values.set(key, value.slice());
      }
    },
    async *entries(range = {}) {
      const { gte, lt, limit = -1, reverse = false } = range;
      const keys = [...values.keys()]
        .filter((key) => (gte === undefined || compare(key, gte) >= 0) && (lt === undefined || compare(key, lt) < 0))
        .sort(compare);
      if (reverse) keys.reverse();
      for (const key of limit < 0 ? keys : keys.slice(0, limit)) yield [key, values.get(key)!.slice()] as const;
    },
  };
}

export interface MemoryStoreInit {
  readonly maxDiskBytes?: number;
  readonly keyPair?: KeyPair;
}

/** Blobs in a map. */
export function memoryBlobs(init: MemoryStoreInit = {}): BlobFiles {
  const { maxDiskBytes = Number.POSITIVE_INFINITY } = init;
  const blobs = new Map<string, Uint8Array>();
  let usedBytes = 0;
  const whole = (hashHex: string): Uint8Array => {
    const bytes = blobs.get(hashHex);
    if (bytes === undefined) throw new SwarmError('BLOB_MISSING', `blob ${hashHex} is not here`, { hashHex });
    return bytes;
  };
  const keep = (hashHex: string, bytes: Uint8Array): void => {
    if (blobs.has(hashHex)) return;
    if (usedBytes + bytes.length > maxDiskBytes) {
      throw new SwarmError('DISK_BUDGET', `a blob of ${bytes.length} bytes does not fit`, { usedBytes, maxDiskBytes });
    }
    blobs.set(hashHex, bytes.slice());
    usedBytes += bytes.length;
  };
  return {
    has: async (hashHex) => blobs.has(hashHex),
    sizeBytes: async (hashHex) => blobs.get(hashHex)?.length ?? null,
    put: async (bytes) => {
      const hashHex = toHex(sha256(bytes));
      keep(hashHex, bytes);
      return hashHex;
    },
    get: async (hashHex) => whole(hashHex).slice(),
    read: async (hashHex, offset, length) => whole(hashHex).slice(offset, offset + length),
    delete: async (hashHex) => {
      usedBytes -= blobs.get(hashHex)?.length ?? 0;
      blobs.delete(hashHex);
    },
    async *list() {
      for (const [hashHex, bytes] of [...blobs]) yield { hashHex, sizeBytes: bytes.length };
    },
    usage: () => ({ usedBytes, maxBytes: maxDiskBytes }),
  };
}

/** A whole store in memory. */
export function createMemoryStore(init: MemoryStoreInit = {}): Store {
  const known = new Map<string, Records>();
  const keyPair = init.keyPair ?? createKeyPair();
  return {
    dir: '(memory)',
    blobs: memoryBlobs(init),
    records(name) {
      const records = known.get(name) ?? memoryRecords();
      known.set(name, records);
      return records;
    },
    identity: async () => keyPair,
    close: async () => undefined,
  };
}
