// One call into the WebGPU provider at a time, whichever thread of this process makes it: its device is one for the process,
// and two threads in it at once end the process (SIGSEGV in 8 of 8 rings on SwiftShader, in none of 2 with turns: measured, 1.30).
// Invariants: a thread that holds the turn never waits for itself (its own calls may overlap); a thread that ends gives it back.

import { getEnvironmentData, setEnvironmentData, threadId, Worker, type WorkerOptions } from 'node:worker_threads';

const KEY = 'murmuration/gpu-turns';
const FREE = 0;

/** What the turn holds while a thread has it. */
const holder = (thread: number): number => thread + 1;

/** Calls of this thread under way: the turn is the thread's. */
let underWay = 0;

function sharedTurn(): Int32Array {
  const shared = (getEnvironmentData(KEY) as SharedArrayBuffer | undefined) ?? new SharedArrayBuffer(4);
  setEnvironmentData(KEY, shared);
  return new Int32Array(shared);
}

function giveBack(turn: Int32Array, thread: number): void {
  if (Atomics.compareExchange(turn, 0, holder(thread), FREE) === holder(thread)) Atomics.notify(turn, 0, 1);
}

/** Starts a thread that shares the turn with all others of the process, and may end while it has it. */
export function startThread(file: URL, options: WorkerOptions): Worker {
  const turn = sharedTurn();
  const worker = new Worker(file, options);
  const { threadId: thread } = worker; // gone once it has ended
  worker.once('exit', () => giveBack(turn, thread));
  return worker;
}

/** Does `work` while no other thread does such work. Blocks this thread until it may: for worker threads, and for a start. */
export function inGpuTurn<T>(work: () => T): T {
  const turn = sharedTurn();
  while (underWay === 0) {
    const found = Atomics.compareExchange(turn, 0, FREE, holder(threadId));
    if (found === FREE) break;
    Atomics.wait(turn, 0, found);
  }
  underWay += 1;
  const end = (): void => {
    underWay -= 1;
    if (underWay === 0) giveBack(turn, threadId);
  };
  let result: T;
  try {
    result = work();
  } catch (error) {
    end();
    throw error;
  }
  if (result instanceof Promise) return result.finally(end) as T;
  end();
  return result;
}
