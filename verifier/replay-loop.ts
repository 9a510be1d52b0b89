// The queue before stage 2, and the loop that empties it: one batch of one policy at a time.
// Source: spec/rollouts.md "Order of checks". Policies that are not here yet wait; those that have left, or that the engine cannot
// hold, are POLICY_UNAVAILABLE; what more work comes than can be done is NOT_CHECKED.

import { ignore } from '../node/protocol/check.ts';
import { errorText } from '../node/protocol/errors.ts';
import type { Clock, Logger, PolicyChain } from '../node/protocol/ports.ts';
import { createSuspicion, lookRequest } from './first-look.ts';
import { WAITING_LIMITS, type WaitingLimits } from './giving-up.ts';
import { dueSequences, dueTokens, type Job } from './job.ts';
import type { Ledger } from './ledger.ts';
import { createReplayQueue } from './queue.ts';
import { type PolicyState, type Replayer, type ReplayOutcome, whyUnusable } from './replayer.ts';
import type { Standing } from './standing.ts';

/** Replays of one group that may fail through our own trouble before it is ignored. Our own. */
const MAX_FAILURES = 3;
const PAUSE_AFTER_FAILURE_MS = 1_000;

export interface ReplayLoop {
  /** takes a job whose body passed stage 1; gives up others, or it, when too much waits */
  readonly add: (job: Job) => Promise<void>;
  /** something changed: a policy came, or the end */
  wake(): void;
  /** tokens due of what waits */
  backlogTokens(): number;
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
export function createReplayLoop(components: ReplayLoopComponents, limits: WaitingLimits = WAITING_LIMITS): ReplayLoop {
  const { ledger, replayer, chain, standing, clock, logger } = components;
  const suspicion = createSuspicion(standing);
  const queue = createReplayQueue(standing.isNewcomer, limits);
  let signalWork = Promise.withResolvers<void>();

  /** Groups of a policy that is not loaded wait for one on its way, and are ignored where none will come. */
  const goWithout = async (policyRoot: string, state: Exclude<PolicyState, 'loaded'>): Promise<void> => {
    const jobs = queue.of(policyRoot);
    const step = jobs[0]?.announcement.policyStep ?? 0;
    if (state === 'absent' && (chain.ready()?.policyStep ?? -1) < step) return;
    const note = state === 'absent' ? `the weights of step ${step} have left this machine` : state.unusable;
    if (jobs.length > 0) logger.warn({ policyRoot, groups: jobs.length, note }, 'a policy cannot be checked here');
    for (const job of jobs) await ledger.close(job, ignore('POLICY_UNAVAILABLE', { note: note.slice(0, 200) }), 0);
  };

  const next = async (signal: AbortSignal): Promise<readonly Job[]> => {
    for (const policyRoot of queue.policies()) {
      const state = await replayer.load(policyRoot, signal);
      if (state !== 'loaded') {
        await goWithout(policyRoot, state);
        continue;
      }
      const batch = queue.take(policyRoot);
      if (batch.length > 0) return batch;
    }
    return [];
  };

  /** Runs and counts one call of the engine. */
  const timed = async <T>(tokens: number, sequences: number, work: Promise<T>): Promise<T> => {
    const startedMs = performance.now();
    const done = await work;
    ledger.counters.replaySeconds += (performance.now() - startedMs) / 1000;
    ledger.counters.tokensReplayed += tokens;
    ledger.counters.sequencesReplayed += sequences;
    return done;
  };

  const close = async ({ job, answer, sequencesReplayed }: ReplayOutcome): Promise<void> => {
    suspicion.judged(job.peer, answer);
    await ledger.close(job, answer, sequencesReplayed);
  };

  /** The cheap beginning, where it pays. @returns jobs that are still to be replayed */
  const lookFirst = async (jobs: readonly Job[], signal: AbortSignal): Promise<readonly Job[]> => {
    const suspects = jobs.filter(suspicion.isWorthALook);
    if (suspects.length === 0) return jobs;
    const tokens = suspects.reduce((sum, job) => sum + job.body!.prompt.length + lookRequest(job).tokens.length, 0);
    const caught = await timed(tokens, suspects.length, replayer.look(jobs[0]!.policyRoot, suspects, signal));
    for (const outcome of caught) await close(outcome);
    const left = jobs.filter(({ state }) => state === 'replaying');
    const isGone = ({ peer, announcement }: Job): boolean => standing.isQuarantined(peer, announcement.policyStep);
    for (const job of left.filter(isGone)) await ledger.close(job, ignore('QUARANTINED'), 0);
    return left.filter(({ state }) => state === 'replaying');
  };

  const replay = async (batch: readonly Job[], signal: AbortSignal): Promise<void> => {
    for (const job of batch) job.state = 'replaying';
    const jobs = await lookFirst(batch, signal);
    if (jobs.length === 0) return;
    const tokens = jobs.reduce((sum, job) => sum + dueTokens(job), 0);
    const sequences = jobs.reduce((sum, job) => sum + dueSequences(job).length, 0);
    const replayed = await timed(tokens, sequences, replayer.replay(jobs[0]!.policyRoot, jobs, signal));
    for await (const outcome of replayer.judge(jobs, replayed)) await close(outcome);
  };

  /** Back into the queue, or ignored when it keeps failing: our trouble is nobody's fault. */
  const failed = async (jobs: readonly Job[], error: unknown): Promise<void> => {
    const replaying = jobs.filter(({ state }) => state === 'replaying');
    for (const job of replaying) job.state = 'queued';
    const unusable = whyUnusable(error);
    // What the engine held left its memory, and its files are gone or changed.
    if (unusable !== null && jobs.length > 0) return await goWithout(jobs[0]!.policyRoot, { unusable });
    logger.error({ groups: jobs.length, error: errorText(error) }, 'replay failed');
    for (const job of replaying) {
      job.failures++;
      const note = errorText(error).slice(0, 200);
      if (job.failures >= MAX_FAILURES) await ledger.close(job, ignore('INTERNAL', { note }), 0);
    }
  };

  return {
    async add(job) {
      const givenUp = queue.add(job);
      signalWork.resolve();
      const note = 'more work than this verifier can do';
      for (const each of givenUp) await ledger.close(each, ignore('NOT_CHECKED', { note }), 0);
    },
    wake: () => signalWork.resolve(),
    backlogTokens: () => queue.tokens(),
    async run(signal) {
      while (!signal.aborted) {
        const wait = signalWork.promise;
        let batch: readonly Job[] = [];
        try {
          batch = await next(signal);
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
