// The verifier's book: every announced group once, its final answer once, and what follows from the answer.
// Source: spec/rollouts.md (equivocation, quarantine); spec/wire.md "Counting" (the first final state wins).
// Invariants: announced = accepted + rejected + ignored + waiting; a rejection counts against its peer once, also when this process
// was killed between its verdict and the peer's standing.

import { toHex } from '../node/protocol/bytes.ts';
import { ACCEPT, type CheckAnswer, codeOf, ignore, reject } from '../node/protocol/check.ts';
import { errorText } from '../node/protocol/errors.ts';
import { peerIdStringOf } from '../node/protocol/keys.ts';
import type { Inbox, Logger, PolicyChain, Random, SignedMessage } from '../node/protocol/ports.ts';
import { encodeVerdict, type Verdict, type VerificationLimits } from '../node/protocol/verdict.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';
import { type Counters, countAnswer, createCounters, type VerifierStats } from './counters.ts';
import { type Job, jobOf } from './job.ts';
import type { RefusedBodies } from './refused-bodies.ts';
import type { StepSecrets } from './secrets.ts';
import type { Standing } from './standing.ts';

/** An announcement as the ledger sees it: new, or judged by an earlier run. */
export type Announced =
  | { readonly kind: 'new'; readonly job: Job }
  | { readonly kind: 'judged'; readonly job: Job; readonly answer: CheckAnswer };

export interface Ledger {
  readonly counters: Counters;
  /** a verdict of our own from an earlier run */
  recall(verdict: Verdict): void;
  /** what a rejection of an earlier run means for its peer, if that run was killed before it had written that */
  recallRejection(verdict: Verdict): Promise<void>;
  /** takes back what earlier runs accepted of peers that are quarantined, once their groups are announced again */
  dropQuarantined(): Promise<void>;
  /** @returns null for an announcement that is known */
  announce(message: SignedMessage, nowMs: number): Announced | null;
  /** takes back an announcement that is too old to be anybody's matter */
  forget(job: Job): void;
  /** the other announcement of the same slot, when there is one */
  rivalOf(job: Job): Job | null;
  /** what becomes of a body that was fetched for a group which is not accepted */
  leaveBody(job: Job): Promise<void>;
  job(groupIdHex: string): Job | null;
  /** what we said of a group last, in this run or an earlier one; null while we have said nothing */
  answerOn(groupIdHex: string): CheckAnswer | null;
  /** jobs without a final answer */
  waiting(): readonly Job[];
  /** final: publishes the verdict, tells standing, and quarantines */
  close(job: Job, answer: CheckAnswer, sequencesReplayed: number): Promise<void>;
  /**
   * A rejection that another look of this process came to, whatever was said of the group here. After a final answer it is published
   * beside that one, which keeps its count, and the peer bears it; a second one changes nothing.
   */
  refute(groupIdHex: string, answer: CheckAnswer, sequencesReplayed: number): Promise<void>;
  /** both final, whatever the first was: two unlike groups for one slot */
  closeEquivocation(first: Job, second: Job): Promise<void>;
  /** @returns the groups that were let go */
  forgetBefore(policyStep: number): readonly Job[];
  figures(): Omit<VerifierStats, 'backlogTokens' | 'peers'>;
}

export interface LedgerComponents {
  readonly inbox: Inbox;
  readonly standing: Standing;
  readonly secrets: StepSecrets;
  readonly chain: PolicyChain;
  readonly random: Random;
  readonly logger: Logger;
  /** where the bodies of groups go that were not accepted */
  readonly refused: RefusedBodies;
}

/** The book of one recipe and one run; `recall` what earlier runs said. */
export function createLedger(
  components: LedgerComponents,
  init: { readonly recipe: ResolvedRecipe; readonly limits: VerificationLimits },
): Ledger {
  const { inbox, standing, secrets, random, logger, refused } = components;
  const counters = createCounters();
  const jobs = new Map<string, Job>();
  const answers = new Map<string, CheckAnswer>();
  const bySlot = new Map<string, Job[]>();
  const byBody = new Map<string, Set<Job>>();

  const publish = async (job: Job, answer: CheckAnswer, sequencesReplayed: number): Promise<void> => {
    answers.set(job.groupIdHex, answer);
    try {
      const secretHash = await secrets.commit(job.announcement.policyStep);
      const verdict = verdictOf(job, answer, { limits: init.limits, secretHash, sequencesReplayed });
      await inbox.publish('verdict', encodeVerdict(verdict), init.recipe.recipeIdHex);
    } catch (error) {
      logger.error({ group: job.groupIdHex, error: errorText(error) }, 'verdict could not be published');
    }
  };

  const isNeeded = ({ state, groupIdHex }: Job): boolean =>
    state !== 'final' || answers.get(groupIdHex)?.answer === 'accept';

  /** Another group may name the same body, and need it: a copy, or the one that was copied. */
  const leaveBody = async (job: Job): Promise<void> => {
    const heir = [...(byBody.get(job.bodyHash) ?? [])].find((other) => other !== job && isNeeded(other));
    if (heir === undefined) await refused.add(job.announcement);
    else heir.isFetched = true;
  };

  /** @returns false when the job was final already */
  const finish = async (job: Job, answer: CheckAnswer, sequencesReplayed: number): Promise<boolean> => {
    if (job.state === 'final') return false;
    job.state = 'final';
    job.body = null;
    countAnswer(counters, answer);
    const code = codeOf(answer);
    const { peer, groupIdHex: group } = job;
    logger.debug({ group, peer, slot: job.announcement.slot, answer: answer.answer, code }, 'group judged');
    if (answer.answer === 'accept') refused.forget(job.bodyHash);
    else if (job.isFetched) await leaveBody(job);
    await publish(job, answer, sequencesReplayed);
    return true;
  };

  /** Drops what waits of a peer, and takes back what was accepted and may not be consumed yet. */
  const dropAll = async (peer: string): Promise<void> => {
    const answer = ignore('QUARANTINED');
    for (const job of [...jobs.values()]) {
      if (job.peer !== peer || job.state === 'replaying') continue;
      if (answers.get(job.groupIdHex)?.answer === 'accept') await publish(job, answer, 0);
      await finish(job, answer, 0);
    }
  };

  /** What an answer means for its peer. */
  const remember = async (job: Job, answer: CheckAnswer, sequencesReplayed: number): Promise<void> => {
    if (answer.answer === 'ignore') return;
    const quarantined = await standing.record(job.peer, {
      groupIdHex: job.groupIdHex,
      policyStep: components.chain.announced()?.policyStep ?? job.announcement.policyStep,
      answer: answer.answer,
      code: codeOf(answer),
      whole: sequencesReplayed === job.announcement.lengths.length,
    });
    if (!quarantined) return;
    logger.warn({ peer: job.peer, ...answer }, 'peer quarantined');
    await dropAll(job.peer);
  };

  /** The answer to a job that has none; what it means for its peer. */
  const close = async (job: Job, answer: CheckAnswer, sequencesReplayed: number): Promise<void> => {
    // Somebody else's quarantine or equivocation may have been final while this one was replayed.
    const isGone = standing.isQuarantined(job.peer, job.announcement.policyStep) && answer.answer !== 'ignore';
    const final = isGone ? ignore('QUARANTINED') : answer;
    if (await finish(job, final, sequencesReplayed)) await remember(job, final, sequencesReplayed);
  };

  return {
    counters,
    recall(verdict) {
      answers.set(toHex(verdict.groupId), answerOf(verdict));
    },
    async recallRejection({ answer, code, groupId, peerId, policyStep, sequencesReplayed }) {
      const [peer, groupIdHex] = [peerIdStringOf(peerId), toHex(groupId)];
      if (answer !== 'reject' || code === null || standing.isCounted(peer, groupIdHex)) return;
      logger.warn({ peer, group: groupIdHex, code }, 'a rejection of an earlier run counts now');
      if (code === 'SLOT_EQUIVOCATION') return await standing.restartProbation(peer, code, [groupIdHex]);
      const whole = sequencesReplayed === init.recipe.recipe.groupSize;
      await standing.record(peer, { groupIdHex, policyStep, answer, code, whole });
    },
    async dropQuarantined() {
      const caught = new Set<string>();
      for (const { groupIdHex, peer, announcement } of jobs.values()) {
        const isAccepted = answers.get(groupIdHex)?.answer === 'accept';
        if (isAccepted && standing.isQuarantined(peer, announcement.policyStep)) caught.add(peer);
      }
      for (const peer of caught) await dropAll(peer);
    },
    announce(message, nowMs) {
      if (jobs.has(message.idHex)) return null;
      const job = jobOf(message, nowMs, uniformOf(random));
      jobs.set(job.groupIdHex, job);
      const slot = slotKey(job);
      bySlot.set(slot, [...(bySlot.get(slot) ?? []), job]);
      byBody.set(job.bodyHash, (byBody.get(job.bodyHash) ?? new Set()).add(job));
      const answer = answers.get(message.idHex);
      if (answer !== undefined) {
        job.state = 'final';
        return { kind: 'judged', job, answer };
      }
      counters.announced++;
      return { kind: 'new', job };
    },
    forget(job) {
      counters.announced--;
      job.state = 'final';
    },
    rivalOf: (job) => (bySlot.get(slotKey(job)) ?? []).find((other) => other !== job) ?? null,
    leaveBody,
    job: (groupIdHex) => jobs.get(groupIdHex) ?? null,
    answerOn: (groupIdHex) => answers.get(groupIdHex) ?? null,
    waiting: () => [...jobs.values()].filter((job) => job.state !== 'final'),
    close,
    async refute(groupIdHex, answer, sequencesReplayed) {
      const job = jobs.get(groupIdHex);
      if (job === undefined || standing.isQuarantined(job.peer, job.announcement.policyStep)) return;
      if (job.state !== 'final') return await close(job, answer, sequencesReplayed);
      if (answers.get(groupIdHex)?.answer === 'reject') return;
      await publish(job, answer, sequencesReplayed);
      await remember(job, answer, sequencesReplayed);
    },
    async closeEquivocation(first, second) {
      const answer = reject('SLOT_EQUIVOCATION', { note: `${first.groupIdHex} and ${second.groupIdHex}` });
      // A verdict that is out is followed by another: what was accepted is taken back.
      if (!(await finish(first, answer, 0))) await publish(first, answer, 0);
      await finish(second, answer, 0);
      await standing.restartProbation(first.peer, 'SLOT_EQUIVOCATION', [first.groupIdHex, second.groupIdHex]);
    },
    forgetBefore(policyStep) {
      const gone: Job[] = [];
      for (const [id, job] of jobs) {
        if (job.announcement.policyStep >= policyStep || job.state !== 'final') continue;
        jobs.delete(id);
        answers.delete(id);
        bySlot.delete(slotKey(job));
        const ofBody = byBody.get(job.bodyHash);
        ofBody?.delete(job);
        if (ofBody?.size === 0) byBody.delete(job.bodyHash);
        gone.push(job);
      }
      return gone;
    },
    figures() {
      const waiting = [...jobs.values()].filter((job) => job.state !== 'final').length;
      return {
        ...counters,
        rejected: { ...counters.rejected },
        ignored: { ...counters.ignored },
        notChecked: counters.ignored['NOT_CHECKED'] ?? 0,
        tokensPerSecond: counters.replaySeconds > 0 ? counters.tokensReplayed / counters.replaySeconds : null,
        waiting,
      };
    },
  };
}

/** 32 random bits in [0, 1). */
function uniformOf(random: Random): number {
  return new DataView(random.bytes(4).slice().buffer).getUint32(0) / 2 ** 32;
}

function slotKey(job: Job): string {
  return `${job.peer}/${job.announcement.policyStep}/${job.announcement.slot}`;
}

function answerOf({ answer, code, evidence }: Verdict): CheckAnswer {
  if (answer === 'accept' || code === null) return ACCEPT;
  return answer === 'reject' ? reject(code, evidence) : ignore(code, evidence);
}

function verdictOf(
  job: Job,
  answer: CheckAnswer,
  rest: Pick<Verdict, 'limits' | 'secretHash' | 'sequencesReplayed'>,
): Verdict {
  const { recipeId, policyStep, peerId, slot } = job.announcement;
  const base = { recipeId, policyStep, groupId: job.groupId, peerId, slot, ...rest };
  if (answer.answer === 'accept') return { ...base, answer: 'accept', code: null };
  const { evidence } = answer;
  return { ...base, answer: answer.answer, code: answer.code, ...(evidence === undefined ? {} : { evidence }) };
}
