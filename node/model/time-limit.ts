// A limit on how long synchronous work may take, also within a regular expression that backtracks for ever: V8 looks in there
// whether it is to end. Source: `timeout` of node:vm, which has a thread watch each call: 0.25 ms of CPU (measured).
// Invariant: work that was ended has run no `finally` of its own: throw away what it worked on.

import { createContext, Script } from 'node:vm';

/** Runs work; throws what it throws, or a TimeLimitError. */
export type TimeLimit = <T>(limitMs: number, work: () => T) => T;

/** Work took longer than it may. */
export class TimeLimitError extends Error {}

/** One limit serves many calls, one after another. */
export function createTimeLimit(): TimeLimit {
  const shared: { work: (() => unknown) | null } = { work: null };
  const context = createContext(shared);
  const script = new Script('work()');
  return <T>(limitMs: number, work: () => T): T => {
    shared.work = work;
    try {
      return script.runInContext(context, { timeout: limitMs }) as T;
    } catch (cause) {
      // It comes from the other context: no `instanceof` here knows it.
      const isOver = (cause as { readonly code?: unknown } | null)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
      if (isOver) throw new TimeLimitError(`more than ${limitMs} ms`, { cause });
      throw cause;
    } finally {
      shared.work = null;
    }
  };
}
