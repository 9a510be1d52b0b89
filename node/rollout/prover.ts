// TOPLOC proofs in a thread of their own, off the decode path and off the network's thread (spec/toploc.md "Cost").
// Invariant: every call settles, also when the thread dies (ENGINE_FAILED) or is closed (ENGINE_CLOSED).

import { Worker } from 'node:worker_threads';
import { type ErrorCode, errorText, SwarmError } from '../protocol/errors.ts';
import type { Prover } from '../protocol/ports.ts';

/** To the thread. */
export interface ProveRequest {
  readonly id: number;
  readonly hidden: Uint16Array;
  readonly hiddenSize: number;
}

/** From the thread. */
export type ProveReply =
  | { readonly id: number; readonly proofs: Uint8Array }
  | { readonly id: number; readonly code: ErrorCode; readonly message: string };

export interface ProverThread extends Prover {
  close(): Promise<void>;
}

/** Enough for a few megabytes of states at a time; V8's own limit is 48 MB. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8 };

interface Waiting {
  readonly resolve: (proofs: Uint8Array) => void;
  readonly reject: (error: SwarmError) => void;
}

/** A prover whose thread starts with the first call; it keeps no process alive while it has nothing to do. */
export function createProver(): ProverThread {
  const file = import.meta.url.endsWith('.ts') ? './prover-thread.ts' : './prover-thread.js';
  let running: Worker | null = null;
  const waiting = new Map<number, Waiting>();
  let next = 0;
  let gone: SwarmError | null = null;

  const fail = (error: SwarmError): void => {
    gone ??= error;
    for (const { reject } of waiting.values()) reject(gone);
    waiting.clear();
  };
  const start = (): Worker => {
    const worker = new Worker(new URL(file, import.meta.url), { name: 'prover', resourceLimits: RESOURCE_LIMITS });
    worker.unref();
    worker.on('message', (reply: ProveReply) => {
      const call = waiting.get(reply.id);
      waiting.delete(reply.id);
      if (waiting.size === 0) worker.unref();
      if ('code' in reply) call?.reject(new SwarmError(reply.code, reply.message));
      else call?.resolve(reply.proofs);
    });
    worker.on('error', (cause) =>
      fail(new SwarmError('ENGINE_FAILED', `the prover's thread died: ${errorText(cause)}`, {}, { cause })),
    );
    worker.on('exit', () => fail(new SwarmError('ENGINE_CLOSED', 'the prover is closed')));
    return worker;
  };

  return {
    prove: (hidden, hiddenSize) =>
      new Promise((resolve, reject) => {
        if (gone !== null) return reject(gone);
        if (hidden.length === 0) return resolve(new Uint8Array(0));
        const own = hidden.slice();
        running ??= start();
        if (waiting.size === 0) running.ref();
        waiting.set(next, { resolve, reject });
        running.postMessage({ id: next++, hidden: own, hiddenSize } satisfies ProveRequest, [own.buffer]);
      }),
    async close() {
      gone ??= new SwarmError('ENGINE_CLOSED', 'the prover is closed');
      await running?.terminate();
    },
  };
}
