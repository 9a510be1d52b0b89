// One replay of a batch of groups of one policy, and what stage 2 makes of it.
// Source: spec/rollouts.md "Replay". The engine and the checks work in threads of their own.

import type { GroupBody } from '../node/protocol/body.ts';
import { ACCEPT, type CheckAnswer, ignore, reject } from '../node/protocol/check.ts';
import { type ErrorCode, errorText, isSwarmError } from '../node/protocol/errors.ts';
import type { PolicyChain, PolicyEngine, ReplayedSequence, ReplayRequest } from '../node/protocol/ports.ts';
import type { VerificationLimits } from '../node/protocol/verdict.ts';
import type { ReplayChecker } from './checker.ts';
import type { ReplayVerdict } from './checks/stage-two.ts';
import { type BodyContext, replaySubject, samplingOf } from './checks/subject.ts';
import { graver } from './checks/two-sided.ts';
import { judgeLook, lookRequest } from './first-look.ts';
import { dueSequences, type Job } from './job.ts';
import type { Standing } from './standing.ts';

/** What stage 2 says of one group. */
export interface ReplayOutcome {
  readonly job: Job;
  readonly answer: CheckAnswer;
  readonly sequencesReplayed: number;
}

/** Whether a policy can be replayed: its files may not be here (yet, or no more), or the engine cannot take them. */
export type PolicyState = 'loaded' | 'absent' | { readonly unusable: string };

/** The engine cannot take such files, however often it is asked. The memory budget is the user's (`--memory`). */
const UNUSABLE: readonly ErrorCode[] = [
  'OUT_OF_MEMORY_BUDGET',
  'MODEL_FILE_MISSING',
  'MODEL_FILE_CORRUPT',
  'MODEL_TENSOR_MISMATCH',
  'NON_FINITE_WEIGHT',
  'ROOT_MISMATCH',
  'UNSUPPORTED_MODEL',
];

/** Why a policy cannot be replayed here, when that is what an engine's error says; null for passing trouble. */
export function whyUnusable(error: unknown): string | null {
  return isSwarmError(error, ...UNUSABLE) ? errorText(error) : null;
}

export interface Replayer {
  /** Loads a policy; the engine keeps those used last within its memory, and reads others again when they are asked for. */
  load(policyRoot: string, signal?: AbortSignal): Promise<PolicyState>;
  /** @throws ENGINE_FAILED and other trouble of ours */
  replay(policyRoot: string, jobs: readonly Job[], signal: AbortSignal): Promise<readonly ReplayedSequence[]>;
  /** A first look at each of these jobs. @returns those that it rejects */
  look(policyRoot: string, jobs: readonly Job[], signal: AbortSignal): Promise<readonly ReplayOutcome[]>;
  /** stage 2 on what `replay` gave for the same jobs */
  judge(jobs: readonly Job[], replayed: readonly ReplayedSequence[]): AsyncIterable<ReplayOutcome>;
  /**
   * Stage 2 of one sequence that somebody else names. It counts for nobody's slack: who names a sequence would choose what is
   * counted of its peer, and it may have been counted before.
   * @returns null when the policy is not here
   * @throws as `replay`
   */
  judgeSequence(
    job: Pick<Job, 'policyRoot' | 'announcement'>,
    body: GroupBody,
    sequence: number,
    signal: AbortSignal,
  ): Promise<CheckAnswer | null>;
  /** lets go of policies that are not wanted any more */
  keepOnly(isWanted: (policyRoot: string) => boolean): Promise<void>;
}

export interface ReplayerComponents {
  /** of its own: what it loads stays until it unloads it (node/model/engine/shared.ts) */
  readonly engine: PolicyEngine;
  readonly checker: ReplayChecker;
  readonly chain: PolicyChain;
  readonly standing: Standing;
}

/** Replays and judges the groups of one recipe. */
export function createReplayer(
  components: ReplayerComponents,
  init: { readonly context: BodyContext; readonly limits: VerificationLimits },
): Replayer {
  const { engine, checker, chain, standing } = components;
  const { context, limits } = init;
  const sampling = samplingOf(context);
  const loaded = new Set<string>();

  const load = async (policyRoot: string, signal?: AbortSignal): Promise<PolicyState> => {
    if (loaded.has(policyRoot)) return 'loaded';
    const files = await chain.files(policyRoot);
    if (files === null) return 'absent';
    try {
      await engine.load(files, signal === undefined ? {} : { signal });
    } catch (error) {
      const unusable = whyUnusable(error);
      if (unusable === null) throw error;
      return { unusable };
    }
    loaded.add(policyRoot);
    return 'loaded';
  };

  return {
    load,
    replay: (policyRoot, jobs, signal) => engine.replay(policyRoot, sampling, jobs.flatMap(requestsOf), signal),
    async look(policyRoot, jobs, signal) {
      const replayed = await engine.replay(policyRoot, sampling, jobs.map(lookRequest), signal);
      return jobs.flatMap((job, i) => {
        const answer = job.body === null ? ACCEPT : judgeLook(context, job, replayed[i]!, limits);
        return answer.answer === 'reject' ? [{ job, answer, sequencesReplayed: 1 }] : [];
      });
    },
    async *judge(jobs, replayed) {
      let taken = 0;
      for (const job of jobs) {
        const due = dueSequences(job);
        const own = replayed.slice(taken, taken + due.length);
        taken += due.length;
        // A job may have become final while it was replayed.
        if (job.body !== null) yield { job, ...(await judgeGroup(job, job.body, due, own)) };
      }
    },
    async judgeSequence({ policyRoot, announcement }, body, sequence, signal) {
      if ((await load(policyRoot, signal)) !== 'loaded') return null;
      const [replayed] = await engine.replay(policyRoot, sampling, [requestOf(body, sequence)], signal);
      if (replayed === undefined) return ignore('INTERNAL');
      const [verdict] = await checker.check([replaySubject(context, announcement, body, sequence, replayed, limits)]);
      const { softMisses: _, tokens: __, ...answer } = verdict!;
      return answer;
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
    body: GroupBody,
    due: readonly number[],
    replayed: readonly ReplayedSequence[],
  ): Promise<Omit<ReplayOutcome, 'job'>> {
    if (replayed.length < due.length) return { answer: ignore('INTERNAL'), sequencesReplayed: 0 };
    const verdicts = await checker.check(
      due.map((index, i) => replaySubject(context, job.announcement, body, index, replayed[i]!, limits)),
    );
    let answer: CheckAnswer = ACCEPT;
    for (const [i, verdict] of verdicts.entries()) {
      answer = graver(answer, withSlack(job.peer, due[i]!, verdict));
      if (answer.answer === 'reject') return { answer, sequencesReplayed: i + 1 };
    }
    return { answer, sequencesReplayed: due.length };
  }

  /** Counts soft misses: too many of them turn what is no rejection into one. */
  function withSlack(peer: string, sequence: number, verdict: ReplayVerdict): CheckAnswer {
    const { softMisses, tokens, ...answer } = verdict;
    const isAbused = standing.countSlack(peer, tokens, softMisses);
    if (!isAbused || answer.answer === 'reject') return answer;
    const { softMisses: measured, slackTokens } = standing.of(peer);
    return reject('SLACK_ABUSED', { sequence, measured, note: `soft misses in ${slackTokens} tokens` });
  }
}

function requestsOf(job: Job): readonly ReplayRequest[] {
  return dueSequences(job).map((sequence) => requestOf(job.body!, sequence));
}

/** Copies: an engine may move what it is given to its thread. */
function requestOf({ prompt, sequences }: GroupBody, sequence: number): ReplayRequest {
  return { prompt: prompt.slice(), tokens: sequences[sequence]!.tokens.slice() };
}
