// The store's contract on the data directory and on memory.

import { describe } from 'node:test';
import { createMemoryStore } from '../support/memory-store.ts';
import { tempStore } from '../support/temp-store.ts';
import { storeContract } from './store.ts';

describe('a data directory', () => {
  storeContract((t, maxDiskBytes = 2 ** 30) => tempStore(t, { maxDiskBytes }));
});

describe('a store in memory', () => {
  storeContract(async (_t, maxDiskBytes = 2 ** 30) => createMemoryStore({ maxDiskBytes }));
});
