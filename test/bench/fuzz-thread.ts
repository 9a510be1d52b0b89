// One decoder fuzzed in a thread of its own: what it allocates is counted by the thread's own heap.

import { parentPort, workerData } from 'node:worker_threads';
import { fuzz } from '../support/fuzz/run.ts';
import { fuzzTargets } from '../support/fuzz/targets.ts';

const { name, inputs, seed } = workerData as {
  readonly name: string;
  readonly inputs: number;
  readonly seed: number;
};
const target = fuzzTargets().find((each) => each.name === name)!;
parentPort!.postMessage(await fuzz(target, inputs, seed));
