// Calls into a worker thread, typed by the functions that it serves: for what computes off the network's thread and is never
// given up half-way (the policy engine is, and has messages of its own).
// Invariants: a thread starts with its first call, works calls off one after another in their order, and keeps no process
// alive while it has none; every call settles, also when the thread dies (ENGINE_FAILED) or is closed (ENGINE_CLOSED).

import { parentPort, type ResourceLimits, type Worker } from 'node:worker_threads';
import { errorText, SwarmError } from '../../protocol/errors.ts';
import { startThread } from './gpu-turns.ts';
import { fromWireError, toWireError, type WireError } from './messages.ts';

/** A function of plain data. */
type Call = (...args: never[]) => unknown;
type Name<S> = keyof S & string;
type Args<S, K extends Name<S>> = S[K] extends Call ? Parameters<S[K]> : never;
type Result<S, K extends Name<S>> = S[K] extends Call ? Awaited<ReturnType<S[K]>> : never;

/** The calling side of a thread that serves the functions of S. */
export interface Thread<S> {
  /** @param transfer buffers of the arguments that move instead of being copied: they are gone here afterwards */
  call<K extends Name<S>>(name: K, args: Args<S, K>, transfer?: readonly ArrayBuffer[]): Promise<Result<S, K>>;
  /** Ends the thread after what was asked before; resolves when it has ended. */
  close(): Promise<void>;
}

export interface ThreadInit {
  /** what messages and debuggers call it */
  readonly name: string;
  /** its file, which calls `serveThread`; see `threadFile` */
  readonly file: URL;
  readonly workerData?: unknown;
  readonly resourceLimits?: ResourceLimits;
}

type ToThread = { readonly id: number; readonly name: string; readonly args: readonly unknown[] } | 'close';
type FromThread = { readonly id: number; readonly value?: unknown; readonly error?: WireError };

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: SwarmError) => void;
}

/** A file beside that of `url` (import.meta.url): .ts in development, .js when built. */
export function threadFile(url: string, name: string): URL {
  return new URL(`./${name}${url.endsWith('.ts') ? '.ts' : '.js'}`, url);
}

/** The calling side; nothing runs until the first call. */
export function createThread<S>(init: ThreadInit): Thread<S> {
  const { name, file, workerData, resourceLimits } = init;
  const waiting = new Map<number, Waiting>();
  let next = 0;
  let gone: SwarmError | null = null;
  let running: { readonly worker: Worker; readonly exited: Promise<void> } | null = null;

  const fail = (error: SwarmError): void => {
    gone ??= error;
    for (const { reject } of waiting.values()) reject(gone);
    waiting.clear();
  };
  const start = (): NonNullable<typeof running> => {
    const worker = startThread(file, { name, workerData, ...(resourceLimits === undefined ? {} : { resourceLimits }) });
    worker.on('message', ({ id, value, error }: FromThread) => {
      const call = waiting.get(id);
      waiting.delete(id);
      if (waiting.size === 0 && gone === null) worker.unref();
      if (error === undefined) call?.resolve(value as never);
      else call?.reject(fromWireError(error));
    });
    worker.on('error', (cause) =>
      fail(new SwarmError('ENGINE_FAILED', `the ${name} thread died: ${errorText(cause)}`, {}, { cause })),
    );
    const exited = new Promise<void>((resolve) => {
      worker.once('exit', (exitCode) => {
        fail(new SwarmError('ENGINE_FAILED', `the ${name} thread ended by itself`, { exitCode }));
        resolve();
      });
    });
    return { worker, exited };
  };

  return {
    call: (method, args, transfer = []) =>
      new Promise((resolve, reject) => {
        if (gone !== null) return reject(gone);
        running ??= start();
        running.worker.postMessage({ id: next, name: method, args } satisfies ToThread, [...transfer]);
        running.worker.ref();
        waiting.set(next++, { resolve, reject });
      }),
    async close() {
      if (gone === null) {
        gone = new SwarmError('ENGINE_CLOSED', `the ${name} thread is closed`);
        running?.worker.ref();
        running?.worker.postMessage('close' satisfies ToThread);
      }
      await running?.exited;
    },
  };
}

/** Buffers of a result that may be moved instead of copied: fresh ones that nothing here keeps. */
function movable(value: unknown): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  const visit = (item: unknown): void => {
    if (ArrayBuffer.isView(item)) {
      // A small Buffer may lie in Node's shared pool: only arrays that own all of their memory move.
      if (item.buffer instanceof ArrayBuffer && item.byteLength === item.buffer.byteLength) found.add(item.buffer);
    } else if (Array.isArray(item)) item.forEach(visit);
    else if (typeof item === 'object' && item !== null) Object.values(item).forEach(visit);
  };
  visit(value);
  return [...found];
}

/**
 * The thread's side. Results move: a function keeps nothing of what it returns.
 * @param name as in ThreadInit
 * @param opening the functions, or what they become; when it fails every call does, for the same reason
 * @param end called before the thread ends
 */
export function serveThread<S extends object>(
  name: string,
  opening: S | Promise<S>,
  end: (served: S) => unknown = () => undefined,
): void {
  const port = parentPort;
  if (port === null) return;
  const opened = Promise.resolve(opening);
  const answer = async (id: number, method: string, args: readonly unknown[]): Promise<void> => {
    try {
      const served = await opened;
      const value: unknown = await (served[method as keyof S] as (...args: readonly unknown[]) => unknown)(...args);
      port.postMessage({ id, value } satisfies FromThread, movable(value));
    } catch (error) {
      port.postMessage({ id, error: toWireError(error, `The ${name} thread`) } satisfies FromThread);
    }
  };
  let last: Promise<unknown> = opened.catch(() => undefined);
  port.on('message', (message: ToThread) => {
    last = last.then(async () => {
      if (message !== 'close') return answer(message.id, message.name, message.args);
      await opened.then(end).catch(() => undefined);
      port.close();
    });
  });
}
