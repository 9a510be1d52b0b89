// Which queued groups share the next replay: one policy, the longest waiting first, peers taking turns.
// Source: spec/rollouts.md "Order of checks" (newcomers get at most half of a verifier's time). Pure.

import { dueSequences, dueTokens, type Job } from './job.ts';

export interface BatchLimits {
  /** prompts included */
  readonly maxTokens: number;
  readonly maxSequences: number;
}

/** A batch holds some 100 ms of a small model's prefill. Our own. */
export const BATCH_LIMITS: BatchLimits = { maxTokens: 32_768, maxSequences: 256 };

/** Share of a batch that newcomers may take while others wait. */
const NEWCOMER_SHARE = 0.5;

/**
 * @param queued in order of arrival, bodies present, all of one policy
 * @param isNewcomer of a peer
 * @returns at least one job when there is one
 */
export function pickBatch(
  queued: readonly Job[],
  isNewcomer: (peer: string) => boolean,
  limits: BatchLimits = BATCH_LIMITS,
): readonly Job[] {
  const established = takeTurns(queued.filter((job) => !isNewcomer(job.peer)));
  const newcomers = takeTurns(queued.filter((job) => isNewcomer(job.peer)));
  const newcomerShare = established.length > 0 ? NEWCOMER_SHARE : 1;
  const first = fill(newcomers, {
    maxTokens: limits.maxTokens * newcomerShare,
    maxSequences: limits.maxSequences * newcomerShare,
  });
  const rest = fill(established, {
    maxTokens: limits.maxTokens - total(first, dueTokens),
    maxSequences: limits.maxSequences - total(first, (job) => dueSequences(job).length),
  });
  return [...first, ...rest];
}

/** Jobs in an order in which each peer's first comes before any peer's second. */
function takeTurns(jobs: readonly Job[]): readonly Job[] {
  const turns = new Map<string, number>();
  const numbered = jobs.map((job) => {
    const turn = turns.get(job.peer) ?? 0;
    turns.set(job.peer, turn + 1);
    return { job, turn };
  });
  return numbered.sort((a, b) => a.turn - b.turn || a.job.arrivedMs - b.job.arrivedMs).map(({ job }) => job);
}

/** As many from the front as fit, the first in any case. */
function fill(jobs: readonly Job[], limits: BatchLimits): readonly Job[] {
  const taken: Job[] = [];
  let [tokens, sequences] = [0, 0];
  for (const job of jobs) {
    tokens += dueTokens(job);
    sequences += dueSequences(job).length;
    if (taken.length > 0 && (tokens > limits.maxTokens || sequences > limits.maxSequences)) break;
    taken.push(job);
  }
  return taken;
}

function total(jobs: readonly Job[], value: (job: Job) => number): number {
  return jobs.reduce((sum, job) => sum + value(job), 0);
}
