// Calls into a thread: answers, errors, order, buffers that move, and an end that nothing waits for in vain.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createThread, type Thread } from '../../../../node/model/engine/thread-calls.ts';
import type { EchoFunctions } from '../../../support/echo-thread.ts';

const FILE = new URL('../../../support/echo-thread.ts', import.meta.url);
const start = (): Thread<EchoFunctions> => createThread<EchoFunctions>({ name: 'echo', file: FILE });

test('what is called is answered, several at once too, worked off in order', async () => {
  const thread = start();
  assert.equal(await thread.call('add', [2, 3]), 5);
  const notes = await Promise.all([
    thread.call('note', ['slow', 30]),
    thread.call('note', ['quick', 0]),
    thread.call('note', ['last', 0]),
  ]);
  assert.deepEqual(notes.at(-1), ['slow', 'quick', 'last']);
  await thread.close();
});

test('buffers named in transfer move, others are copied', async () => {
  const thread = start();
  const [moved, copied] = [Float32Array.of(1, 2), Float32Array.of(3)];
  assert.deepEqual(await thread.call('double', [moved], [moved.buffer]), Float32Array.of(2, 4));
  assert.deepEqual(await thread.call('double', [copied]), Float32Array.of(6));
  assert.deepEqual([moved.length, copied.length], [0, 1]);
  await thread.close();
});

test('errors of ours keep code and detail, others are ENGINE_FAILED, and the thread goes on', async () => {
  const thread = start();
  await assert.rejects(thread.call('refuse', []), { code: 'PROOF_NAN', detail: { position: 3 } });
  await assert.rejects(thread.call('break', []), { code: 'ENGINE_FAILED', message: /out of order/ });
  assert.equal(await thread.call('add', [1, 1]), 2);
  await thread.close();
});

test('a thread that dies rejects what is pending and what comes after, and close still ends', async () => {
  const thread = start();
  const [died, pending] = [thread.call('die', []), thread.call('add', [1, 1])];
  await assert.rejects(died, { code: 'ENGINE_FAILED' });
  await assert.rejects(pending, { code: 'ENGINE_FAILED' });
  await assert.rejects(thread.call('add', [1, 1]), { code: 'ENGINE_FAILED' });
  await thread.close();
});

test('close lets what was asked end, and refuses what comes after; a thread never called closes too', async () => {
  const thread = start();
  const asked = thread.call('note', ['asked', 20]);
  const closed = thread.close();
  await assert.rejects(thread.call('add', [1, 1]), { code: 'ENGINE_CLOSED' });
  assert.deepEqual(await asked, ['asked']);
  await Promise.all([closed, thread.close()]);
  const unused = start();
  await unused.close();
  await assert.rejects(unused.call('add', [1, 1]), { code: 'ENGINE_CLOSED' });
});

test('an idle thread keeps no process alive', () => {
  const calls = fileURLToPath(new URL('../../../../node/model/engine/thread-calls.ts', import.meta.url));
  const script = `import { createThread } from ${JSON.stringify(calls)};
    const thread = createThread({ name: 'echo', file: new URL(${JSON.stringify(FILE.href)}) });
    console.log(await thread.call('add', [2, 2]));`;
  const child = spawnSync(process.execPath, ['-e', script], { timeout: 20_000 });
  assert.deepEqual([child.status, String(child.stdout).trim()], [0, '4'], String(child.stderr));
});
