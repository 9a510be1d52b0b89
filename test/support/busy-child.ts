// A process whose thread is inside native code for minutes; it ends by the first SIGINT. For interrupt.test.ts.

import { scryptSync } from 'node:crypto';
import { isMainThread, Worker } from 'node:worker_threads';
import { endBySignal } from '../../node/cli/interrupt.ts';

if (isMainThread) {
  process.on('SIGINT', endBySignal);
  new Worker(new URL(import.meta.url)).once('message', () => process.stdout.write('busy\n'));
} else {
  const { parentPort } = await import('node:worker_threads');
  parentPort?.postMessage('busy');
  // 16 MB, over and over: about half an hour of work.
  scryptSync('password', 'salt', 64, { N: 2 ** 14, r: 8, p: 2 ** 16, maxmem: 2 ** 30 });
}
