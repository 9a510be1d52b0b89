// A folder for one test, removed at its end; and such an end for what is no test.

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

/** Runs `work`, which is no test (a bench, a child), with an end of its own: what was set last ends first. */
export async function withEndings<T>(work: (t: Ending) => Promise<T>): Promise<T> {
  const endings: (() => Promise<void>)[] = [];
  try {
    return await work({ after: (end) => void endings.push(end) });
  } finally {
    for (const end of endings.reverse()) await end();
  }
}
