// A process that opens a data directory and works in it until it is killed: `node store-child.ts DIR hold|write`.
// Says "ready" once it is open, then (write) the number of the last record that was awaited, a line each.

import { createStore } from '../../node/store/store.ts';
import { silentLogger } from './silent-logger.ts';

const [dir, what] = process.argv.slice(2);
const store = await createStore({ dir: dir!, maxDiskBytes: 2 ** 30, logger: silentLogger });
process.stdout.write('ready\n');
if (what === 'hold') setInterval(() => undefined, 1000);
else {
  const records = store.records('count');
  for (let i = 0; ; i++) {
    const key = String(i).padStart(8, '0');
    await store.blobs.put(new Uint8Array(50_000).fill(i));
    await records.batch([
      [`a/${key}`, Uint8Array.of(1)],
      [`b/${key}`, Uint8Array.of(1)],
    ]);
    process.stdout.write(`${i}\n`);
  }
}
