// The prover's other end: builds proofs one request after the other.

import { parentPort } from 'node:worker_threads';
import { proveCompletion } from '../../verifier/toploc/completion.ts';
import { createTopValuesScratch } from '../../verifier/toploc/top-values.ts';
import { errorText, isSwarmError } from '../protocol/errors.ts';
import type { ProveReply, ProveRequest } from './prover.ts';

const scratch = createTopValuesScratch();

function answer({ id, hidden, hiddenSize }: ProveRequest): ProveReply {
  try {
    return { id, proofs: new Uint8Array(proveCompletion(hidden, hiddenSize, scratch)) };
  } catch (error) {
    return { id, code: isSwarmError(error) ? error.code : 'ENGINE_FAILED', message: errorText(error) };
  }
}

parentPort?.on('message', (request: ProveRequest) => parentPort?.postMessage(answer(request)));
