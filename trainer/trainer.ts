// One trainer of one recipe: takes up where it was, trains step by step, and ends when told to or at the recipe's last step.
// What a step does is in train.ts.

import { isSwarmError } from '../node/protocol/errors.ts';
import { createLedger, type LedgerCounts } from './ledger.ts';
import { createPool } from './pool.ts';
import { createPublication } from './publication.ts';
import { createReplays } from './replay.ts';
import { publishCurrent, resume } from './resume.ts';
import { consumedRecord, type RunState } from './run-state.ts';
import { type Run, trainStep } from './train.ts';
import type { TrainerComponents, TrainerInit } from './trainer-ports.ts';

/** One trainer of one recipe. */
export interface Trainer {
  /** Takes up the newest checkpoint, or begins; publishes the policy it stands at. @throws CHECKPOINT_CORRUPT, DISK_FULL */
  start(): Promise<void>;
  /** Trains until `stop`, or until the recipe's last step. @returns why it ended */
  run(): Promise<'stopped' | 'finished'>;
  /** Gives up the step under way, unless its weights have learned already: that one becomes durable and is published. */
  stop(): Promise<void>;
  /** announces the end of the recipe */
  close(): Promise<void>;
  counts(): LedgerCounts;
  state(): RunState;
}

/** A trainer of one recipe, not started. */
export function createTrainer(components: TrainerComponents, init: TrainerInit): Trainer {
  const stopping = new AbortController();
  const { recipe } = init.recipe;
  const maxSteps = init.maxSteps ?? recipe.grpo.maxSteps ?? Number.POSITIVE_INFINITY;
  const own = init.ownVerifier === undefined ? [] : [init.ownVerifier];
  const verifiers = [...new Set([...recipe.verification.verifiers, ...own])];
  let run: Run | null = null;
  let running: Promise<unknown> = Promise.resolve();

  async function begin(): Promise<Run> {
    const { state, checkpoint } = await resume(components, init);
    const ledger = createLedger(components.records, init.recipe.recipeIdHex);
    const poolInit = { recipe: init.recipe, verifiers, requireVerdict: init.requireVerdict ?? true };
    const pool = createPool({ ...components, ledger }, poolInit, consumedRecord(state));
    await pool.start();
    const publication = createPublication({ ...components, pool }, init);
    const replays = createReplays(components, {
      sampling: init.sampling,
      replayConsumed: recipe.verification.replayConsumed,
    });
    const begun: Run = { components, init, ledger, pool, replays, publication, state, settling: Promise.resolve() };
    await publishCurrent(components, publication, state, checkpoint);
    return begun;
  }

  async function train(begun: Run): Promise<'stopped' | 'finished'> {
    // What a stop gives up was not learned, or is not waited for.
    const unlessStopped = (error: unknown): void => {
      if (!(stopping.signal.aborted && isSwarmError(error, 'INTERRUPTED'))) throw error;
    };
    while (!stopping.signal.aborted && begun.state.policyStep < maxSteps) {
      await trainStep(begun, stopping.signal).catch(unlessStopped);
    }
    await begun.settling.catch(unlessStopped);
    if (begun.state.policyStep < maxSteps) return 'stopped';
    await begun.publication.close();
    return 'finished';
  }

  const begun = (): Run => {
    if (run === null) throw new Error('start the trainer first');
    return run;
  };
  return {
    async start() {
      run = await begin();
    },
    run() {
      const result = train(begun());
      running = result.catch(() => undefined);
      return result;
    },
    async stop() {
      stopping.abort();
      components.engine.interrupt();
      await running;
      await run?.pool.stop();
    },
    close: () => begun().publication.close(),
    counts: () => begun().ledger.counts(),
    state: () => begun().state,
  };
}
