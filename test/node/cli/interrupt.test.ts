// Ctrl-C beside a thread that computes without a break: what `process.exit` would wait for.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';

const CHILD = join(import.meta.dirname, '../../support/busy-child.ts');

test('a process ends by the signal at once, whatever its threads are in', async () => {
  const child = spawn(process.execPath, [CHILD], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  await once(child.stdout, 'data');
  child.kill('SIGINT');
  // With process.exit it would be a code, after a quarter of an hour.
  assert.deepEqual(await closed, [null, 'SIGINT']);
});
