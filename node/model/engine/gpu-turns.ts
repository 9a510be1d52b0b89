// One call into the WebGPU provider at a time, whichever thread of this process makes it: its device is one for the process,
// and two threads in it at once end the process (SIGSEGV in 8 of 8 rings on SwiftShader, in none of 2 with turns: measured, 1.30).
// Invariant: a thread that holds the turn never waits for itself: its own calls may overlap.

import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

const KEY = 'murmuration/gpu-turns';

/** Calls of this thread under way: the turn is the thread's. */
let underWay = 0;

/** To be called before a thread is made: it shares the turn with all others of the process. */
export function shareGpuTurns(): Int32Array {
  const shared = (getEnvironmentData(KEY) as SharedArrayBuffer | undefined) ?? new SharedArrayBuffer(4);
  setEnvironmentData(KEY, shared);
  return new Int32Array(shared);
}

/** Does `work` while no other thread does such work. Blocks this thread until it may: for worker threads, and for a start. */
export async function inGpuTurn<T>(work: () => Promise<T>): Promise<T> {
  const turn = shareGpuTurns();
  if (underWay === 0) while (Atomics.compareExchange(turn, 0, 0, 1) !== 0) Atomics.wait(turn, 0, 1);
  underWay += 1;
  try {
    return await work();
  } finally {
    underWay -= 1;
    if (underWay === 0) {
      Atomics.store(turn, 0, 0);
      Atomics.notify(turn, 0, 1);
    }
  }
}
