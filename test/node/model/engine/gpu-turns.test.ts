// Turns at the GPU: threads never overlap, a thread does not wait for itself, and one that ends leaves the turn free.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inGpuTurn, startThread } from '../../../../node/model/engine/gpu-turns.ts';

const MODULE = new URL('../../../../node/model/engine/gpu-turns.ts', import.meta.url).href;

/** Runs a body in a thread that has `inGpuTurn` and `count`; resolves to its exit code. */
function inThread(body: string, count: SharedArrayBuffer): Promise<number> {
  const program = `
    import { workerData } from 'node:worker_threads';
    import { inGpuTurn } from ${JSON.stringify(MODULE)};
    const count = new Int32Array(workerData);
    ${body}`;
  const worker = startThread(new URL(`data:text/javascript,${encodeURIComponent(program)}`), { workerData: count });
  return new Promise((resolve, reject) => {
    worker.once('exit', resolve);
    worker.once('error', reject);
  });
}

/** Adds 1 to the count 200 times, in steps that another thread's would disturb. */
const COUNT = `for (let k = 0; k < 200; k++) await inGpuTurn(async () => {
  const before = count[0];
  await new Promise(setImmediate);
  count[0] = before + 1;
});`;

test('two threads take turns; nothing of one happens inside the other', async () => {
  const count = new SharedArrayBuffer(4);
  assert.deepEqual(await Promise.all([inThread(COUNT, count), inThread(COUNT, count)]), [0, 0]);
  assert.equal(new Int32Array(count)[0], 400);
});

test('a thread that ends in its turn leaves it to the others', async () => {
  const count = new SharedArrayBuffer(4);
  assert.equal(await inThread('inGpuTurn(() => process.exit(3));', count), 3);
  assert.equal(await inThread(COUNT, count), 0);
  assert.equal(new Int32Array(count)[0], 200);
});

test('calls of one thread may overlap, and a failed one gives the turn back', async () => {
  const first = Promise.withResolvers<string>();
  const outer = inGpuTurn(() => first.promise);
  assert.equal(
    inGpuTurn(() => 'inner'),
    'inner',
  );
  first.resolve('outer');
  assert.equal(await outer, 'outer');
  const lost = (): never => {
    throw new Error('lost');
  };
  assert.throws(() => inGpuTurn(lost), /lost/);
  await assert.rejects(
    inGpuTurn(async () => lost()),
    /lost/,
  );
  const count = new SharedArrayBuffer(4);
  assert.equal(await inThread(COUNT, count), 0);
});
