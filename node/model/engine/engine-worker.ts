// The worker thread's side of the engine: requests are worked off one after another, aborts are heard between steps.
// Results leave by transfer of their buffers.

import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { SwarmError } from '../../protocol/errors.ts';
import type { DrawnToken, GeneratedSequence, ReplayedSequence } from '../../protocol/ports.ts';
import {
  type EngineAnswers,
  type EngineLimits,
  type EngineRequest,
  type FromWorker,
  type ToWorker,
  toWireError,
} from './messages.ts';
import { createPolicies, type Policies } from './policies.ts';

/** A request under way or waiting. */
interface Task {
  readonly id: number;
  readonly request: EngineRequest;
  aborted: boolean;
}

type Answer = EngineAnswers[keyof EngineAnswers];

function buffersOf(answer: Answer, request: EngineRequest): ArrayBufferLike[] {
  if (request.kind === 'generate') {
    return (answer as readonly (readonly GeneratedSequence[])[])
      .flat()
      .flatMap(({ tokens, logprobs, hidden }) => [tokens.buffer, logprobs.buffer, hidden.buffer]);
  }
  if (request.kind === 'replay') {
    return (answer as readonly ReplayedSequence[]).flatMap(({ logprobs, below, upTo, hidden }) => [
      logprobs.buffer,
      below.buffer,
      upTo.buffer,
      hidden.buffer,
    ]);
  }
  return [];
}

/** Tokens of the longest sequence that a request may come to. */
function longest(request: Extract<EngineRequest, { kind: 'generate' | 'replay' }>): number {
  let most = 0;
  if (request.kind === 'generate') {
    for (const { prompt } of request.groups) most = Math.max(most, prompt.length + request.sampling.maxNewTokens);
  } else for (const { prompt, tokens } of request.sequences) most = Math.max(most, prompt.length + tokens.length);
  return most;
}

async function work(policies: Policies, task: Task, onToken: (drawn: DrawnToken) => void): Promise<Answer> {
  const { request } = task;
  if (request.kind === 'load') {
    const { parameters } = await policies.load(request.policy, request.alterWeights);
    return { parameters };
  }
  if (request.kind === 'unload') {
    policies.unload(request.policyRoot);
    return null;
  }
  const { config, feeds } = await policies.use(request.policyRoot);
  const { decoder, replayer } = await policies.runner(config, longest(request));
  const job = { weights: feeds, sampling: request.sampling, isAborted: () => task.aborted };
  return request.kind === 'generate'
    ? decoder.generate({ ...job, groups: request.groups, ...(request.tellTokens ? { onToken } : {}) })
    : replayer.replay({ ...job, sequences: request.sequences });
}

function serve(port: MessagePort, policies: Policies): void {
  const queue: Task[] = [];
  let busy = false;
  let closing = false;

  const answer = async (task: Task): Promise<void> => {
    try {
      if (task.aborted) throw new SwarmError('INTERRUPTED', 'The work was given up before it began.');
      const value = await work(policies, task, (drawn) =>
        port.postMessage({ id: task.id, drawn } satisfies FromWorker),
      );
      const buffers = buffersOf(value, task.request).filter((buffer) => buffer instanceof ArrayBuffer);
      port.postMessage({ id: task.id, value } satisfies FromWorker, buffers);
    } catch (error) {
      port.postMessage({ id: task.id, error: toWireError(error) } satisfies FromWorker);
    }
  };
  const drain = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    while (queue.length > 0 && !closing) {
      await answer(queue[0]!);
      queue.shift();
    }
    busy = false;
    if (closing) {
      await policies.dispose();
      port.close();
    }
  };
  port.on('message', (message: ToWorker) => {
    if ('close' in message) {
      closing = true;
      for (const task of queue) task.aborted = true;
      void drain();
    } else if ('abort' in message) {
      const task = queue.find(({ id }) => id === message.abort);
      if (task !== undefined) task.aborted = true;
    } else {
      queue.push({ ...message, aborted: false });
      void drain();
    }
  });
}

if (parentPort !== null) serve(parentPort, createPolicies(workerData as EngineLimits));
