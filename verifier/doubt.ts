// Doubting other verifiers: their rejections are repeated here before they mean anything, their acceptances held beside our own.
// Source: design.md "Who trusts what"; spec/rollouts.md "Order of checks".
// Invariants: a rejection of somebody else has no effect here until its named sequence (or stage 1) failed here too; one that does
// not repeat silences its verifier; nothing that is said after our own answer, and may be its echo, confirms its verifier; rechecks
// take at most their budget, and none is made twice for one group and sequence.

import { toHex } from '../node/protocol/bytes.ts';
import { type CheckAnswer, codeOf } from '../node/protocol/check.ts';
import { errorText } from '../node/protocol/errors.ts';
import type { BlobFetcher, Inbox, Logger, PeerIdString, PolicyChain, SignedMessage } from '../node/protocol/ports.ts';
import { decodeSecret } from '../node/protocol/secret.ts';
import { decodeVerdict, type Verdict } from '../node/protocol/verdict.ts';
import { createAcceptances, type Finding } from './acceptances.ts';
import type { BodyContext } from './checks/subject.ts';
import { createCommitments } from './commitments.ts';
import type { Job } from './job.ts';
import type { Ledger } from './ledger.ts';
import { type Claim, claimOf, claimTokens, ELSEWHERE, type RecheckResult, recheck } from './recheck.ts';
import { createRecheckBudget } from './recheck-budget.ts';
import type { Replayer } from './replayer.ts';
import { createRoom } from './room.ts';
import type { VerifierStandings } from './verifier-standing.ts';

/** Rejections that wait, in all and of one verifier. Our own. */
const MAX_WAITING = 1_024;
const MAX_WAITING_EACH = 128;

/** What has come of others' rejections since the start. */
export interface DoubtStats {
  readonly waiting: number;
  /** found wrong here too */
  readonly repeated: number;
  /** found right here: their verifiers were silenced */
  readonly refuted: number;
  /** body or policy gone, between the limits, or resting on more than the group */
  readonly unsettled: number;
  /** tokens of completions looked at again */
  readonly tokens: number;
}

export interface Doubt {
  /** hears verdicts and secrets from now on. @returns how to stop that */
  start(): Promise<() => void>;
  /** rechecks until the signal */
  run(signal: AbortSignal): Promise<void>;
  /** something changed: a new policy step, or the end */
  wake(): void;
  /** @param policyStep the oldest within maxLag */
  forgetBefore(policyStep: number): Promise<void>;
  stats(): DoubtStats;
}

export interface DoubtComponents {
  readonly inbox: Inbox;
  readonly ledger: Ledger;
  readonly replayer: Replayer;
  readonly blobs: BlobFetcher;
  readonly chain: PolicyChain;
  readonly standings: VerifierStandings;
  readonly logger: Logger;
}

export interface DoubtInit {
  readonly context: BodyContext;
  /** our own: what it signs is no stranger's */
  readonly peerId: PeerIdString;
  /** tokens a verifier and step */
  readonly recheckTokens?: number;
}

/** A rejection of somebody else. */
interface Rejected {
  readonly verifier: PeerIdString;
  readonly verdict: Verdict;
  readonly groupIdHex: string;
}

/** A rejection that can be looked into now. */
interface Due extends Rejected {
  readonly job: Job;
  /** what we say of it now */
  readonly mine: CheckAnswer;
  readonly claim: Claim;
}

/** Doubts the verifiers of one recipe. */
export function createDoubt(components: DoubtComponents, init: DoubtInit): Doubt {
  const { inbox, ledger, chain, standings, logger } = components;
  const { context, peerId } = init;
  const { recipeIdHex, recipe } = context.recipe;
  const { groupSize, verification } = recipe;
  const commitments = createCommitments(standings);
  const acceptances = createAcceptances({ commitments, ledger, standings }, { pMin: verification.pMin, groupSize });
  const budget = createRecheckBudget(init.recheckTokens);
  /** group and claim to what a recheck said, as many as the budget lets; one that could not be made is made again when asked for */
  const settled = new Map<string, { readonly result: RecheckResult; readonly groupIdHex: string }>();
  const waiting = createRoom<Rejected>({
    max: MAX_WAITING,
    maxEach: MAX_WAITING_EACH,
    isStranger: standings.isStranger,
    isIdle: (groupIdHex) => ledger.job(groupIdHex) === null,
  });
  let signalWork = Promise.withResolvers<void>();
  const counts = { repeated: 0, refuted: 0, unsettled: 0, tokens: 0 };

  const now = (): number => chain.announced()?.policyStep ?? 0;
  const trouble = (error: unknown): void =>
    logger.error({ error: errorText(error) }, "a verifier's standing was not kept");

  const take = (findings: readonly Finding[]): void => {
    for (const { verifier, groupIdHex, is } of findings) {
      if (is === 'contradicted')
        logger.warn({ verifier, group: groupIdHex }, 'another verifier accepted a false group');
      const done =
        is === 'confirmed'
          ? standings.confirm(verifier, now())
          : is === 'unexplained'
            ? standings.restart(verifier)
            : standings.contradict(verifier, { groupIdHex, policyStep: now(), silences: false });
      done.catch(trouble);
    }
  };

  const hearOwn = (verdict: Verdict): void => {
    take(acceptances.ours(toHex(verdict.groupId)));
    signalWork.resolve();
  };

  const hearRejection = (message: SignedMessage, verdict: Verdict): void => {
    const { peerIdString: verifier } = message;
    const groupIdHex = toHex(verdict.groupId);
    if (standings.isSilenced(verifier, now())) return;
    // Nothing is left to find out, and an echo of what we say earns nothing.
    if (ledger.answerOn(groupIdHex)?.answer === 'reject') return;
    const rejected = { verifier, verdict, groupIdHex };
    if (waiting.add(verifier, groupIdHex, rejected) && ready(rejected) !== null) signalWork.resolve();
  };

  const hear = (message: SignedMessage): void => {
    const verdict = decodeVerdict(message.payload);
    if (message.peerIdString === peerId) hearOwn(verdict);
    else if (verdict.answer === 'accept') take(acceptances.theirs(message.peerIdString, verdict));
    else if (verdict.answer === 'reject') hearRejection(message, verdict);
  };

  const hearSecret = (message: SignedMessage): void => {
    const secret = decodeSecret(message.payload);
    if (commitments.hear(message.peerIdString, secret)) take(acceptances.explained());
  };

  const silence = async ({ verifier, groupIdHex, verdict }: Rejected): Promise<void> => {
    counts.refuted++;
    logger.warn({ verifier, group: groupIdHex, code: verdict.code }, 'a rejection does not repeat: verifier silenced');
    await standings.contradict(verifier, { groupIdHex, policyStep: now(), silences: true });
    waiting.forget((each) => each.verifier === verifier);
  };

  const confirm = async ({ verifier, verdict: { secretHash }, job }: Due): Promise<void> => {
    const { policyStep } = job.announcement;
    if (commitments.areOf(verifier, { policyStep, secretHash })) await standings.confirm(verifier, now());
  };

  const conclude = async (due: Due, result: RecheckResult | null): Promise<void> => {
    if (result?.outcome === 'differs') return await silence(due);
    if (result?.outcome !== 'repeats') {
      counts.unsettled++;
      return;
    }
    counts.repeated++;
    await ledger.refute(due.groupIdHex, result.answer, typeof due.claim === 'number' ? 1 : 0);
    await confirm(due);
  };

  /** Takes out of the queue what needs no recheck any more. @returns null while a rejection has to wait */
  const ready = (rejected: Rejected): Due | 'done' | null => {
    const job = ledger.job(rejected.groupIdHex);
    const mine = ledger.answerOn(rejected.groupIdHex);
    if (standings.isSilenced(rejected.verifier, now())) return 'done';
    if (job === null || job.state !== 'final' || mine === null) return null;
    if (codeOf(mine) === 'QUARANTINED') return 'done';
    return { ...rejected, job, mine, claim: claimOf(rejected.verdict, groupSize) };
  };

  /** What can be looked into now: those whose word has counted first, then the group that was rejected first. */
  const inOrder = (): readonly Rejected[] => {
    const worth = (verifier: PeerIdString): number =>
      Number(standings.isNamed(verifier)) + standings.of(verifier).standing;
    return waiting
      .all()
      .filter((rejected) => ready(rejected) !== null)
      .toSorted((a, b) => worth(b.verifier) - worth(a.verifier));
  };

  const look = async (due: Due, signal: AbortSignal): Promise<boolean> => {
    const { job, mine, claim, verifier, groupIdHex } = due;
    if (claim === 'nothing') await silence(due);
    else if (claim === 'elsewhere' || (mine.answer === 'reject' && ELSEWHERE.has(mine.code))) counts.unsettled++;
    else if (mine.answer === 'reject') await confirm(due);
    else {
      const key = `${groupIdHex}/${claim}`;
      const known = settled.get(key);
      const isStranger = standings.isStranger(verifier);
      if (known === undefined && !budget.take(verifier, isStranger, claimTokens(claim, job), now())) return false;
      const result = known?.result ?? (await tryRecheck({ ...due, claim }, signal));
      if (signal.aborted) return false;
      if (result !== null) settled.set(key, { result, groupIdHex });
      // It may have taken its time to fail, and a verifier may choose what fails: once a step is enough.
      else budget.useUp(verifier, isStranger, now());
      await conclude(due, result);
    }
    return true;
  };

  const tryRecheck = async (
    due: Due & { readonly claim: 'body' | number },
    signal: AbortSignal,
  ): Promise<RecheckResult | null> => {
    counts.tokens += claimTokens(due.claim, due.job);
    try {
      return await recheck(components, context, due, signal);
    } catch (error) {
      if (!signal.aborted)
        logger.warn({ group: due.groupIdHex, error: errorText(error) }, 'a recheck was not possible');
      return null;
    }
  };

  /** @returns whether it needs no more looking at; a failed write leaves what is in memory, and is no reason to stop doubting */
  const handle = async (rejected: Rejected, signal: AbortSignal): Promise<boolean> => {
    const due = ready(rejected);
    if (due === null || due === 'done') return due === 'done';
    try {
      return await look(due, signal);
    } catch (error) {
      trouble(error);
      return true;
    }
  };

  /** One pass over the queue. @returns whether anything left it */
  const pass = async (signal: AbortSignal): Promise<boolean> => {
    let progress = false;
    for (const rejected of inOrder()) {
      if (signal.aborted) return false;
      if (waiting.on(rejected.groupIdHex).get(rejected.verifier) !== rejected) continue;
      if (!(await handle(rejected, signal))) continue;
      waiting.delete(rejected.verifier, rejected.groupIdHex);
      progress = true;
    }
    return progress;
  };

  return {
    async start() {
      for await (const message of inbox.stored('secret', recipeIdHex)) hearSecret(message);
      const inScope = (take: (message: SignedMessage) => void) => (message: SignedMessage, scope: string | null) => {
        if (scope === recipeIdHex) take(message);
      };
      const unlisten = [inbox.on('secret', inScope(hearSecret)), inbox.on('verdict', inScope(hear))];
      return () => {
        for (const stop of unlisten) stop();
      };
    },
    async run(signal) {
      while (!signal.aborted) {
        const wait = signalWork.promise;
        if (await pass(signal)) continue;
        await wait;
        signalWork = Promise.withResolvers<void>();
      }
    },
    wake: () => signalWork.resolve(),
    async forgetBefore(policyStep) {
      take(acceptances.forgetBefore(policyStep));
      commitments.forgetBefore(policyStep);
      waiting.forget(({ verdict }) => verdict.policyStep < policyStep);
      for (const [key, { groupIdHex }] of settled) if (ledger.job(groupIdHex) === null) settled.delete(key);
      await standings.forgetBefore(policyStep);
      signalWork.resolve();
    },
    stats: () => ({ waiting: waiting.size(), ...counts }),
  };
}
