// A real store in a folder of its own, closed and removed at the test's end.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createStore, type Store, type StoreInit } from '../../node/store/store.ts';
import { silentLogger } from './silent-logger.ts';
import type { Ending } from './temp-dir.ts';

/** Opens a store in a new folder; the folder goes after the store is closed. */
export async function tempStore(t: Ending, init: Partial<StoreInit> = {}): Promise<Store> {
  const dir = await mkdtemp(join(tmpdir(), 'murmuration-'));
  let store: Store | null = null;
  t.after(async () => {
    await store?.close();
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  });
  store = await createStore({ dir, maxDiskBytes: 2 ** 30, logger: silentLogger, ...init });
  return store;
}
