// The queue before stage 2, and the loop that empties it: one batch of one policy at a time.
// Source: spec/rollouts.md "Order of checks". Policies that are not here yet wait; those that have left are POLICY_UNAVAILABLE.

import { ignore } from '../node/protocol/check.ts';
import { errorText } from '../node/protocol/errors.ts';
import type { Clock, Logger, PolicyChain } from '../node/protocol/ports.ts';
import { pickBatch } from './batch.ts';
import { dueSequences, dueTokens, type Job } from './job.ts';
import type { Ledger } from './ledger.ts';
import type { Replayer } from './replayer.ts';
import type { Standing } from './standing.ts';

/** Replays of one group that may fail through our own trouble before it is ignored. Our own. */
const MAX_FAILURES = 3;
const PAUSE_AFTER_FAILURE_MS = 1_000;

export interface ReplayLoop {
  readonly add: (job: Job) => void;
  /** something changed: a policy came, or the end */
  wake(): void;
  /** runs until the signal; a batch under way is given up */
  run(signal: AbortSignal): Promise<void>;
}

export interface ReplayLoopComponents {
  readonly ledger: Ledger;
  readonly replayer: Replayer;
  readonly chain: PolicyChain;
  readonly standing: Standing;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A loop that does nothing until it is run. */
export function createReplayLoop(components: ReplayLoopComponents): ReplayLoop {
  const { ledger, replayer, chain, standing, clock, logger } = components;
  let queued: Job[] = [];
  let signalWork = Promise.withResolvers<void>();

  /** The next batch, of the policy that has waited longest among those that are here. */
  const next = async (): Promise<readonly Job[]> => {
    queued = queued.filter((job) => job.state === 'queued');
    for (const policyRoot of new Set(queued.map((job) => job.policyRoot))) {
      const jobs = queued.filter((job) => job.policyRoot === policyRoot);
      if (await replayer.load(policyRoot)) return pickBatch(jobs.filter(isQueued), standing.isNewcomer);
      const hasLeft = (chain.ready()?.policyStep ?? -1) >= jobs[0]!.announcement.policyStep;
      if (hasLeft) for (const job of jobs) await ledger.close(job, ignore('POLICY_UNAVAILABLE'), 0);
    }
    return [];
  };

  const replay = async (jobs: readonly Job[], signal: AbortSignal): Promise<void> => {
    for (const job of jobs) job.state = 'replaying';
    const tokens = jobs.reduce((sum, job) => sum + dueTokens(job), 0);
    const startedMs = performance.now();
    const replayed = await replayer.replay(jobs[0]!.policyRoot, jobs, signal);
    ledger.counters.replaySeconds += (performance.now() - startedMs) / 1000;
    ledger.counters.tokensReplayed += tokens;
    ledger.counters.sequencesReplayed += jobs.reduce((sum, job) => sum + dueSequences(job).length, 0);
    for await (const { job, answer, sequencesReplayed } of replayer.judge(jobs, replayed)) {
      await ledger.close(job, answer, sequencesReplayed);
    }
  };

  /** Back into the queue, or ignored when it keeps failing: our trouble is nobody's fault. */
  const failed = async (jobs: readonly Job[], error: unknown): Promise<void> => {
    logger.error({ groups: jobs.length, error: errorText(error) }, 'replay failed');
    for (const job of jobs) {
      if (job.state !== 'replaying') continue;
      job.state = 'queued';
      job.failures++;
      const note = errorText(error).slice(0, 200);
      if (job.failures >= MAX_FAILURES) await ledger.close(job, ignore('INTERNAL', { note }), 0);
    }
  };

  return {
    add(job) {
      queued.push(job);
      signalWork.resolve();
    },
    wake: () => signalWork.resolve(),
    async run(signal) {
      while (!signal.aborted) {
        const wait = signalWork.promise;
        let batch: readonly Job[] = [];
        try {
          batch = await next();
          if (batch.length > 0) await replay(batch, signal);
        } catch (error) {
          if (signal.aborted) return;
          await failed(batch, error);
          await clock.sleep(PAUSE_AFTER_FAILURE_MS, signal);
          continue;
        }
        if (batch.length > 0) continue;
        await wait;
        signalWork = Promise.withResolvers<void>();
      }
    },
  };
}

function isQueued(job: Job): boolean {
  return job.state === 'queued';
}
