// A wish to stop that crosses threads: the engine's thread is inside ONNX Runtime and hears no message, but between two
// micro-batches it can look at shared memory.

import { SwarmError } from '../../node/protocol/errors.ts';

export interface Interruption {
  /** shared; 1 once interrupted */
  readonly flag: Int32Array<SharedArrayBuffer>;
  interrupt(): void;
  /** @throws {SwarmError} INTERRUPTED once interrupted */
  check(): void;
}

export const interruptedError = (): SwarmError =>
  new SwarmError('INTERRUPTED', 'The training step was given up before it ended: nothing changed.');

/** @param flag of an interruption on another thread; default: a new one */
export function createInterruption(
  flag: Int32Array<SharedArrayBuffer> = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
): Interruption {
  return {
    flag,
    interrupt: () => void Atomics.store(flag, 0, 1),
    check() {
      if (Atomics.load(flag, 0) !== 0) throw interruptedError();
    },
  };
}
