// Stage 2 in a thread of its own: the network's thread hands replays over and gets verdicts back.
// Source: design.md "onnxruntime-node is synchronous" (the main thread keeps the network); a check of a long sequence of a
// wide model takes longer than the 20 ms that it may ever be blocked.

import { createThread, threadFile } from '../node/model/engine/thread-calls.ts';
import type { CheckerFunctions } from './checker-thread.ts';
import type { ReplayVerdict } from './checks/stage-two.ts';
import type { ReplaySubject } from './checks/subject.ts';

export interface ReplayChecker {
  /**
   * Stage 2 of sequences of one group, up to the first rejection. Takes the hidden states: they are gone afterwards.
   * @throws {SwarmError} ENGINE_FAILED, ENGINE_CLOSED
   */
  check(subjects: readonly ReplaySubject[]): Promise<readonly ReplayVerdict[]>;
}

export interface CheckerThread extends ReplayChecker {
  close(): Promise<void>;
}

/** States come and go by transfer; what the checks make is small. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8 };

/** A checker whose thread starts with the first call. */
export function createReplayChecker(): CheckerThread {
  const file = threadFile(import.meta.url, 'checker-thread');
  const thread = createThread<CheckerFunctions>({ name: 'checker', file, resourceLimits: RESOURCE_LIMITS });
  return {
    check: (subjects) => thread.call('check', [subjects], statesOf(subjects)),
    close: () => thread.close(),
  };
}

/** The states that fill their memory alone; others are copied. */
function statesOf(subjects: readonly ReplaySubject[]): ArrayBuffer[] {
  const states = subjects.map(({ replayed }) => replayed.hidden);
  return states.flatMap(({ buffer, byteLength }) =>
    buffer instanceof ArrayBuffer && byteLength > 0 && byteLength === buffer.byteLength ? [buffer] : [],
  );
}
