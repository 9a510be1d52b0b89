// The far end of createTrainingEngine: one engine in a worker thread, one call at a time, in the order of arrival.

import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { errorText, SwarmError } from '../../node/protocol/errors.ts';
import { openTrainingCore } from './core.ts';
import type { TrainingEngineInit } from './engine.ts';
import type { CallMessage, ReplyMessage } from './messages.ts';

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

function failure(error: unknown): NonNullable<ReplyMessage['failure']> {
  if (error instanceof SwarmError) return { code: error.code, message: error.message, detail: error.detail };
  return { code: 'ENGINE_FAILED', message: `the training engine failed: ${errorText(error)}`, detail: {} };
}

async function serve(port: MessagePort, init: TrainingEngineInit): Promise<void> {
  const opening = openTrainingCore(init);
  let last: Promise<unknown> = opening.catch(() => undefined);
  const answer = async ({ id, method, args }: CallMessage): Promise<void> => {
    try {
      const engine = await opening;
      const call =
        method === 'open' ? undefined : (engine[method] as (...args: readonly unknown[]) => Promise<unknown>);
      const result = await call?.apply(engine, args as unknown[]);
      port.postMessage({ id, result } satisfies ReplyMessage, movable(result));
    } catch (error) {
      port.postMessage({ id, failure: failure(error) } satisfies ReplyMessage);
    }
    if (method === 'close') port.close();
  };
  port.on('message', (message: CallMessage) => {
    last = last.then(() => answer(message));
  });
}

if (parentPort) await serve(parentPort, workerData as TrainingEngineInit);
