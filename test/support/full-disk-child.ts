// Fills the small disk it is given, first with blobs, then with records, opens it again, and says what it met.

import { rm } from 'node:fs/promises';
import { isSwarmError } from '../../node/protocol/errors.ts';
import { blobFile, dataDirLayout } from '../../node/store/data-dir.ts';
import { createStore } from '../../node/store/store.ts';
import { silentLogger } from './silent-logger.ts';

const dir = `${process.argv[2]!}/data`;
const open = () => createStore({ dir, maxDiskBytes: 2 ** 40, logger: silentLogger });
const codeOf = (error: unknown): string => (isSwarmError(error) ? error.code : String(error));

let store = await open();
const names: string[] = [];
const blobCodes = new Set<string>();
for (let i = 0; i < 40; i++) {
  try {
    names.push(await store.blobs.put(new Uint8Array(100_000).fill(i)));
  } catch (error) {
    blobCodes.add(codeOf(error));
  }
}
// Room for the records' own housekeeping, then fill that too.
await store.blobs.delete(names.shift()!);
await store.blobs.delete(names.shift()!);
let written = 0;
let recordCode = 'none';
try {
  for (; written < 4000; written++) await store.records('r').put(String(written), new Uint8Array(1000).fill(written));
} catch (error) {
  recordCode = codeOf(error);
}
await store.close();
for (let i = 0; i < 3; i++) {
  await rm(blobFile(dataDirLayout(dir), names.shift()!));
}
store = await open();
let blobsWhole = true;
for (const name of names) blobsWhole &&= (await store.blobs.get(name)).length === 100_000;
let recordsWhole = true;
for (let i = 0; i < written; i++) recordsWhole &&= (await store.records('r').get(String(i)))?.[999] === i % 256;
await store.close();
process.stdout.write(JSON.stringify({ blobCodes: [...blobCodes], blobsWhole, recordCode, recordsWhole, written }));
