// Waiting for what another part does soon.

import assert from 'node:assert/strict';

const POLL_MS = 2;

/** Waits for a condition; fails after a generous time, so that slow machines pass. */
export async function until(condition: () => boolean, what: string, timeoutMs: number = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    assert.ok(performance.now() < endMs, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
