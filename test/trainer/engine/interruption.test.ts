// What waits for another thread's work: rejected at once when it is cut off, and kept no longer than it takes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createCutOff, interruptedError } from '../../../trainer/engine/interruption.ts';

const never = new Promise<never>(() => undefined);

test('what is cut off rejects at once, so does what comes later; what has ended stays as it was', async () => {
  const { unlessCut, cut } = createCutOff();
  assert.equal(await unlessCut(Promise.resolve(3)), 3);
  await assert.rejects(unlessCut(Promise.reject(new RangeError())), RangeError);
  const waiting = [unlessCut(never), unlessCut(never)];
  cut(interruptedError());
  for (const each of [...waiting, unlessCut(never), unlessCut(Promise.resolve(3))]) {
    await assert.rejects(each, { code: 'INTERRUPTED' });
  }
});

test('the result of work that has ended is not kept', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const { unlessCut, cut } = createCutOff();
  const result = await (async () => new WeakRef(await unlessCut(Promise.resolve(new Float32Array(1_000)))))();
  await new Promise((resolve) => setImmediate(resolve));
  gc();
  assert.equal(result.deref(), undefined);
  cut(interruptedError());
});
