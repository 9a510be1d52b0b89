// The PolicyEngine port over one worker thread. ONNX Runtime blocks the thread that calls it, so no session ever lives
// where the network does. Invariant: every call settles, also when the worker dies (ENGINE_FAILED) or is closed.

import type { Worker } from 'node:worker_threads';
import { errorText, SwarmError } from '../../protocol/errors.ts';
import type { DrawnToken, Logger, PolicyEngine, PolicyFiles } from '../../protocol/ports.ts';
import { parseModelConfig } from '../config.ts';
import { startThread } from './gpu-turns.ts';
import {
  type EngineAnswers,
  type EngineLimits,
  type EngineRequest,
  type FromWorker,
  fromWireError,
} from './messages.ts';
import { describePlan } from './plan.ts';
import { threadFile } from './thread-calls.ts';

export interface PolicyEngineInit extends EngineLimits {
  readonly logger?: Logger;
  /** the worker's file; default: the engine's own */
  readonly workerEntry?: URL;
}

interface Pending {
  readonly resolve: (value: never) => void;
  readonly reject: (error: SwarmError) => void;
  readonly onToken: ((drawn: DrawnToken) => void) | undefined;
}

/** V8 lets a thread's young heap grow to three times 16 MB, which an engine's garbage fills for nothing. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 12 };

const closedError = (): SwarmError => new SwarmError('ENGINE_CLOSED', 'The model engine is closed; create another.');
const interrupted = (): SwarmError => new SwarmError('INTERRUPTED', 'The work was given up before it ended.');

/**
 * An engine with its own thread, started with the first call: until then it takes no memory (40 MB otherwise, measured).
 * @param init `threads` of ONNX Runtime; `memoryBytes` for weights, cache and activations together
 */
export function createPolicyEngine(init: PolicyEngineInit): PolicyEngine {
  const { logger, workerEntry, ...limits } = init;
  let running: { readonly worker: Worker; readonly exited: Promise<void> } | null = null;
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let dead: SwarmError | null = null;

  const die = (error: SwarmError): void => {
    if (dead !== null) return;
    dead = error;
    for (const { reject } of pending.values()) reject(error);
    pending.clear();
  };
  const start = (): NonNullable<typeof running> => {
    const worker = startThread(workerEntry ?? threadFile(import.meta.url, 'engine-worker'), {
      workerData: limits,
      resourceLimits: RESOURCE_LIMITS,
    });
    const exited = new Promise<void>((resolve) => {
      worker.once('exit', (code) => {
        die(
          new SwarmError('ENGINE_FAILED', `The model engine's thread ended by itself (code ${code}).`, {
            exitCode: code,
          }),
        );
        resolve();
      });
    });
    worker.on('error', (error) => {
      logger?.error({ error: errorText(error) }, 'model engine failed');
      die(new SwarmError('ENGINE_FAILED', `The model engine failed: ${errorText(error)}`, {}, { cause: error }));
    });
    worker.on('message', (message: FromWorker) => {
      const call = pending.get(message.id);
      if ('drawn' in message) {
        call?.onToken?.(message.drawn);
        return;
      }
      pending.delete(message.id);
      if (call === undefined) return;
      if ('error' in message) call.reject(fromWireError(message.error));
      else call.resolve(message.value as never);
    });
    worker.unref();
    return { worker, exited };
  };

  /** Once a model: what its policies get of the budget, and why. */
  const toldPlans = new Set<string>();
  const tellPlan = ({ configJson }: PolicyFiles): void => {
    if (logger === undefined || toldPlans.has(configJson)) return;
    toldPlans.add(configJson);
    logger.info(describePlan(parseModelConfig(JSON.parse(configJson)), limits), 'model engine planned');
  };

  const ask = <K extends EngineRequest['kind']>(
    request: Extract<EngineRequest, { kind: K }>,
    signal?: AbortSignal,
    onToken?: (drawn: DrawnToken) => void,
  ): Promise<EngineAnswers[K]> => {
    if (dead !== null) return Promise.reject(dead);
    if (signal?.aborted) return Promise.reject(interrupted());
    running ??= start();
    const { worker } = running;
    const id = nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<EngineAnswers[K]>();
    pending.set(id, { resolve, reject, onToken });
    const abort = (): void => {
      // The thread hears of it when its pass has ended; who gave up does not wait for that.
      worker.postMessage({ abort: id });
      pending.delete(id);
      reject(interrupted());
    };
    signal?.addEventListener('abort', abort, { once: true });
    worker.ref();
    try {
      worker.postMessage({ id, request });
    } catch (cause) {
      pending.delete(id); // what was asked cannot be cloned
      reject(new SwarmError('ENGINE_FAILED', `The request cannot be sent: ${errorText(cause)}`, {}, { cause }));
    }
    return promise.finally(() => {
      signal?.removeEventListener('abort', abort);
      if (pending.size === 0) worker.unref();
    });
  };

  return {
    load: async (policy, options) => {
      const { alterWeights = null, signal } = options ?? {};
      const answer = await ask({ kind: 'load', policy, alterWeights }, signal);
      tellPlan(policy);
      return answer;
    },
    unload: async (policyRoot) => {
      await ask({ kind: 'unload', policyRoot });
    },
    generate: (policyRoot, sampling, groups, signal, onToken) => {
      const tellTokens = onToken !== undefined;
      return ask({ kind: 'generate', policyRoot, sampling, groups, tellTokens }, signal, onToken);
    },
    replay: (policyRoot, sampling, sequences, signal) =>
      ask({ kind: 'replay', policyRoot, sampling, sequences }, signal),
    close: async () => {
      die(closedError());
      if (running === null) return;
      running.worker.ref();
      running.worker.postMessage({ close: true });
      await running.exited;
    },
  };
}
