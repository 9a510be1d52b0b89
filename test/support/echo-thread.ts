// A thread for tests of thread calls: adds, refuses, breaks, dies.

import { setTimeout as sleep } from 'node:timers/promises';
import { serveThread } from '../../node/model/engine/thread-calls.ts';
import { SwarmError } from '../../node/protocol/errors.ts';

const order: string[] = [];

const functions = {
  add: (a: number, b: number): number => a + b,
  double: (values: Float32Array): Float32Array => values.map((value) => 2 * value),
  note: async (what: string, ms: number): Promise<readonly string[]> => {
    await sleep(ms);
    order.push(what);
    return [...order];
  },
  refuse: (): never => {
    throw new SwarmError('PROOF_NAN', 'not a number', { position: 3 });
  },
  break: (): never => {
    throw new RangeError('out of order');
  },
  die: (): never => process.exit(7),
};

export type EchoFunctions = typeof functions;

serveThread('echo', functions);
