// The prover's other end: builds proofs one request after the other.

import { proveCompletion } from '../../verifier/toploc/completion.ts';
import { createTopValuesScratch } from '../../verifier/toploc/top-values.ts';
import { serveThread } from '../model/engine/thread-calls.ts';

const scratch = createTopValuesScratch();

const functions = {
  prove: (hidden: Uint16Array, hiddenSize: number): Uint8Array =>
    // Of its own memory, so that it moves.
    new Uint8Array(proveCompletion(hidden, hiddenSize, scratch)),
};

export type ProverFunctions = typeof functions;

serveThread('prover', functions);
