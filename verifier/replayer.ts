// One replay of a batch of groups of one policy, and what stage 2 makes of it.
// Source: spec/rollouts.md "Replay". The engine works in its own thread; between sequences this thread gives way.

import { setImmediate as giveWay } from 'node:timers/promises';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../node/protocol/check.ts';
import type { PolicyChain, PolicyEngine, ReplayedSequence, ReplayRequest } from '../node/protocol/ports.ts';
import type { VerificationLimits } from '../node/protocol/verdict.ts';
import { checkReplay } from './checks/stage-two.ts';
import { type BodyContext, samplingOf } from './checks/subject.ts';
import { graver } from './checks/two-sided.ts';
import { dueSequences, type Job } from './job.ts';
import type { Standing } from './standing.ts';

/** Checking in one go before the network thread gets its turn; well under the 20 ms it may ever be blocked. */
const SLICE_MS = 5;

/** What stage 2 says of one group. */
export interface ReplayOutcome {
  readonly job: Job;
  readonly answer: CheckAnswer;
  readonly sequencesReplayed: number;
}

export interface Replayer {
  /** @returns false when the policy's files are not here */
  load(policyRoot: string): Promise<boolean>;
  /** @throws ENGINE_FAILED and other trouble of ours */
  replay(policyRoot: string, jobs: readonly Job[], signal: AbortSignal): Promise<readonly ReplayedSequence[]>;
  /** stage 2 on what `replay` gave for the same jobs */
  judge(jobs: readonly Job[], replayed: readonly ReplayedSequence[]): AsyncIterable<ReplayOutcome>;
  /** lets go of policies that are not wanted any more */
  keepOnly(isWanted: (policyRoot: string) => boolean): Promise<void>;
}

export interface ReplayerComponents {
  /** of its own: what it loads stays until it unloads it (node/model/engine/shared.ts) */
  readonly engine: PolicyEngine;
  readonly chain: PolicyChain;
  readonly standing: Standing;
}

/** Replays and judges the groups of one recipe. */
export function createReplayer(
  components: ReplayerComponents,
  init: { readonly context: BodyContext; readonly limits: VerificationLimits },
): Replayer {
  const { engine, chain, standing } = components;
  const { context, limits } = init;
  const sampling = samplingOf(context);
  const loaded = new Set<string>();

  const load = async (policyRoot: string): Promise<boolean> => {
    if (loaded.has(policyRoot)) return true;
    const files = await chain.files(policyRoot);
    if (files === null) return false;
    await engine.load(files);
    loaded.add(policyRoot);
    return true;
  };

  return {
    load,
    replay: (policyRoot, jobs, signal) => engine.replay(policyRoot, sampling, jobs.flatMap(requestsOf), signal),
    async *judge(jobs, replayed) {
      let taken = 0;
      let sliceStart = performance.now();
      for (const job of jobs) {
        const due = dueSequences(job);
        // A job may have become final while it was replayed.
        if (job.body === null) {
          taken += due.length;
          continue;
        }
        yield { job, ...(await judgeGroup(job, due, replayed.slice(taken, taken + due.length), pause)) };
        taken += due.length;
      }
      async function pause(): Promise<void> {
        if (performance.now() - sliceStart < SLICE_MS) return;
        await giveWay();
        sliceStart = performance.now();
      }
    },
    async keepOnly(isWanted) {
      for (const policyRoot of [...loaded]) {
        if (isWanted(policyRoot)) continue;
        loaded.delete(policyRoot);
        await engine.unload(policyRoot);
      }
    },
  };

  async function judgeGroup(
    job: Job,
    due: readonly number[],
    replayed: readonly ReplayedSequence[],
    pause: () => Promise<void>,
  ): Promise<Omit<ReplayOutcome, 'job'>> {
    let answer: CheckAnswer = ACCEPT;
    for (let i = 0; i < due.length; i++) {
      await pause();
      const sequence = replayed[i];
      if (sequence === undefined) return { answer: ignore('INTERNAL'), sequencesReplayed: i };
      answer = graver(answer, judgeSequence(job, due[i]!, sequence));
      if (answer.answer === 'reject') return { answer, sequencesReplayed: i + 1 };
    }
    return { answer, sequencesReplayed: due.length };
  }

  function judgeSequence(job: Job, index: number, replayed: ReplayedSequence): CheckAnswer {
    const { softMisses, tokens, ...answer } = checkReplay(
      context,
      job.announcement,
      job.body!,
      index,
      replayed,
      limits,
    );
    const isAbused = standing.countSlack(job.peer, tokens, softMisses);
    if (!isAbused || answer.answer === 'reject') return answer;
    const { softMisses: measured, checkedTokens } = standing.of(job.peer);
    return reject('SLACK_ABUSED', { sequence: index, measured, note: `soft misses in ${checkedTokens} tokens` });
  }
}

function requestsOf(job: Job): readonly ReplayRequest[] {
  const { prompt, sequences } = job.body!;
  // Copies: an engine may move what it is given to its thread.
  return dueSequences(job).map((i) => ({ prompt: prompt.slice(), tokens: sequences[i]!.tokens.slice() }));
}
