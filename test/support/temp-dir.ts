// A folder for one test, removed at its end.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What is used of node:test's context. */
export interface Ending {
  after(end: () => Promise<void>): void;
}

/**
 * A new empty folder, removed when the test `t` ends.
 * Hooks of node:test run in the order they were set, this one before those of whatever is made inside: close that in
 * the test itself (or see tempStore).
 */
export async function tempDir(t: Ending): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'murmuration-'));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));
  return dir;
}
