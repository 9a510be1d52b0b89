// Turns at the GPU: threads never overlap, and a thread does not wait for itself.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { inGpuTurn, shareGpuTurns } from '../../../../node/model/engine/gpu-turns.ts';

const MODULE = new URL('../../../../node/model/engine/gpu-turns.ts', import.meta.url).href;

/** Takes 200 turns, adding 1 to a number in steps that another thread's would disturb. */
const PROGRAM = `
  const { workerData } = require('node:worker_threads');
  import(${JSON.stringify(MODULE)}).then(async ({ inGpuTurn }) => {
    const count = new Int32Array(workerData);
    for (let k = 0; k < 200; k++) await inGpuTurn(async () => {
      const before = count[0];
      await new Promise(setImmediate);
      count[0] = before + 1;
    });
  });`;

test('two threads take turns; nothing of one happens inside the other', async () => {
  shareGpuTurns();
  const count = new SharedArrayBuffer(4);
  const ends = [1, 2].map(
    () =>
      new Promise((resolve, reject) => {
        const worker = new Worker(PROGRAM, { eval: true, workerData: count });
        worker.once('exit', resolve);
        worker.once('error', reject);
      }),
  );
  assert.deepEqual(await Promise.all(ends), [0, 0]);
  assert.equal(new Int32Array(count)[0], 400);
});

test('calls of one thread may overlap, and a failed one gives the turn back', async () => {
  const first = Promise.withResolvers<string>();
  const outer = inGpuTurn(() => first.promise);
  assert.equal(await inGpuTurn(async () => 'inner'), 'inner');
  first.resolve('outer');
  assert.equal(await outer, 'outer');
  await assert.rejects(
    inGpuTurn(async () => {
      throw new Error('lost');
    }),
    /lost/,
  );
  assert.equal(shareGpuTurns()[0], 0);
});
