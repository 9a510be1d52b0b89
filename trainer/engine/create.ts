// A training engine in a worker thread. Invariant: every call is answered or rejected, also when the thread dies.

import { Worker } from 'node:worker_threads';
import { errorText, SwarmError } from '../../node/protocol/errors.ts';
import type { TrainingEngine, TrainingEngineInit } from './engine.ts';
import type { CallMessage, ReplyMessage } from './messages.ts';

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** The calls that a worker has not answered yet. */
interface Calls {
  call(method: CallMessage['method'], ...args: readonly unknown[]): Promise<unknown>;
  exited: Promise<void>;
}

function startThread(init: TrainingEngineInit): Calls {
  // Sources run as .ts, the built package as .js.
  const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js';
  const worker = new Worker(new URL(file, import.meta.url), { workerData: init, name: 'training-engine' });
  const waiting = new Map<number, Waiting>();
  let next = 0;
  let gone: SwarmError | null = null;
  const fail = (error: SwarmError): void => {
    gone ??= error;
    for (const { reject } of waiting.values()) reject(gone);
    waiting.clear();
  };
  worker.on('message', ({ id, result, failure }: ReplyMessage) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (failure) call?.reject(new SwarmError(failure.code, failure.message, failure.detail));
    else call?.resolve(result);
  });
  worker.on('error', (cause) =>
    fail(new SwarmError('ENGINE_FAILED', `the training thread died: ${errorText(cause)}`, {}, { cause })),
  );
  const exited = new Promise<void>((resolve) => {
    worker.on('exit', () => {
      fail(new SwarmError('ENGINE_CLOSED', 'the training engine is closed'));
      resolve();
    });
  });
  return {
    exited,
    call: (method, ...args) =>
      new Promise((resolve, reject) => {
        if (gone) return reject(gone);
        waiting.set(next, { resolve, reject });
        worker.postMessage({ id: next++, method, args } satisfies CallMessage);
      }),
  };
}

/**
 * Opens a model for training on a thread of its own.
 * @throws as `openTrainingCore`
 */
export async function createTrainingEngine(init: TrainingEngineInit): Promise<TrainingEngine> {
  const { call, exited } = startThread(init);
  const close = async (): Promise<void> => {
    await call('close').catch(() => undefined);
    await exited;
  };
  const bind = <M extends keyof TrainingEngine>(method: M): TrainingEngine[M] =>
    ((...args: readonly unknown[]) => call(method, ...args)) as unknown as TrainingEngine[M];
  try {
    await call('open');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    logprobs: bind('logprobs'),
    update: bind('update'),
    sft: bind('sft'),
    policy: bind('policy'),
    saveCheckpoint: bind('saveCheckpoint'),
    restore: bind('restore'),
    undo: bind('undo'),
    close,
  };
}
