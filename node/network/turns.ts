// Many small pieces of work that must not keep the event loop to themselves: one after the other, and a pause for the loop
// whenever a slice of time is used up. Messages come in bursts, and checking a signature takes 0.1 ms and more.

import { setImmediate as giveWay } from 'node:timers/promises';

/** Well under the 20 ms for which the network thread may be blocked. */
export const SLICE_MS = 5;

/**
 * Turns in the order of asking: what follows `await turn()` without a further await runs before the next turn begins.
 * @param sliceMs of turns before the loop gets its own
 */
export function createTurns(sliceMs: number = SLICE_MS): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  /** of the slice that runs in this round of the loop; null: none yet */
  let began: number | null = null;
  const begin = (): void => {
    const mine = performance.now();
    began = mine;
    // What comes once the loop has been round need not wait for it again.
    setImmediate(() => {
      if (began === mine) began = null;
    });
  };
  const next = async (): Promise<void> => {
    if (began === null) return begin();
    if (performance.now() - began < sliceMs) return;
    await giveWay();
    begin();
  };
  return () => {
    last = last.then(next);
    return last;
  };
}
