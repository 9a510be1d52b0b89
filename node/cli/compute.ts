// How many threads a model gets on this machine when nobody says.

import { availableParallelism } from 'node:os';

/**
 * All cores but one: the network thread, and whoever else is on the machine, keep the last.
 * @param asked the --threads flag
 */
export function chooseThreads(asked: number | undefined): number {
  return asked ?? Math.max(1, availableParallelism() - 1);
}
