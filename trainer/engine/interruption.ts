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

/** Work of another thread that is not waited for any more once it is cut off. */
export interface CutOff {
  /** The work's own end, unless it is cut off before, or was already. */
  unlessCut<T>(work: Promise<T>): Promise<T>;
  cut(error: Error): void;
}

/** Keeps nothing of work that has ended: Promise.race against one promise for the engine's life would keep every result. */
export function createCutOff(): CutOff {
  const rejecters = new Set<(error: Error) => void>();
  let cutBy: Error | null = null;
  return {
    unlessCut: (work) =>
      new Promise((resolve, reject) => {
        work.then(resolve, reject).finally(() => rejecters.delete(reject));
        if (cutBy === null) rejecters.add(reject);
        else reject(cutBy);
      }),
    cut(error) {
      cutBy ??= error;
      for (const reject of rejecters) reject(cutBy);
      rejecters.clear();
    },
  };
}

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
