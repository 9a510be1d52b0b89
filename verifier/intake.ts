// From announcement to a body that passed stage 1, slot by slot, and the secret choice of what is replayed.
// Source: spec/rollouts.md "Randomness" (parking, BODY_MISSING, two bodies for one slot), stage 1, "Whole groups are sampled".
// Invariant: at most `maxFetches` lanes and pairs are looked into at a time, one a peer, newcomers at most half of them.

import type { GroupBody } from '../node/protocol/body.ts';
import { type CheckAnswer, type CheckCode, codeOf, ignore } from '../node/protocol/check.ts';
import { errorText } from '../node/protocol/errors.ts';
import type { BlobFetcher, BlobStore, Clock, Logger } from '../node/protocol/ports.ts';
import { fetchBody } from './bodies.ts';
import { readBody, wrongSize } from './checks/body-bytes.ts';
import { createCopyRegister, sameTokens } from './checks/copies.ts';
import { checkBody } from './checks/stage-one.ts';
import type { BodyContext } from './checks/subject.ts';
import type { WaitingLimits } from './giving-up.ts';
import type { Job } from './job.ts';
import { createLanes, type Lane } from './lanes.ts';
import type { Ledger } from './ledger.ts';
import type { StepSecrets } from './secrets.ts';
import type { Standing } from './standing.ts';

export interface Intake {
  add(job: Job): void;
  /** a group judged by an earlier run: its slot counts, it is not judged again */
  resume(job: Job, answer: CheckAnswer): void;
  /** closes lanes that have waited too long for an announcement */
  closeStalled(): void;
  forgetBefore(policyStep: number): void;
  stop(): void;
  /** resolves once nothing is under way */
  idle(): Promise<void>;
}

export interface IntakeComponents {
  readonly blobs: BlobFetcher;
  /** where `blobs` puts what it fetched */
  readonly store: Pick<BlobStore, 'sizeBytes' | 'delete'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ledger: Ledger;
  readonly standing: Standing;
  readonly secrets: StepSecrets;
  /** takes a job whose body passed stage 1 */
  readonly queue: (job: Job) => Promise<void>;
}

/** Codes of groups whose bodies may not have been seen: after a restart their lanes end there. */
const ENDING: ReadonlySet<CheckCode> = new Set(['NOT_CHECKED', 'TOO_MANY_PARKED']);

/** Codes that close a lane when an earlier run gave them. */
const CLOSING: ReadonlySet<CheckCode> = new Set(['BODY_MISSING', 'SLOT_EQUIVOCATION', 'QUARANTINED']);

/** Two announcements of one slot. */
interface Pair {
  readonly first: Job;
  readonly second: Job;
}

/** Pairs that wait to be compared, of all peers and of one; of more, the second announcement is left out. Our own. */
const MAX_PAIRS = 1_024;
const MAX_PAIRS_EACH = 4;

/** Takes in the announcements of one recipe. @param init `maxFetches` bodies at a time, and how many may wait for theirs */
export function createIntake(
  components: IntakeComponents,
  init: { readonly context: BodyContext; readonly maxFetches: number; readonly limits: WaitingLimits },
): Intake {
  const { blobs, store, clock, logger, ledger, standing, secrets } = components;
  const { context, maxFetches } = init;
  const { bodyTimeoutMs } = context.recipe.recipe.staleness;
  const lanes = createLanes(init.limits);
  const copies = createCopyRegister();
  const stopping = new AbortController();
  /** work under way, by peer */
  const busy = new Map<string, Promise<void>>();
  const others = new Set<Promise<void>>();
  const pairs: Pair[] = [];

  const isFree = (peer: string): boolean => busy.size < maxFetches && !busy.has(peer) && !isShareUsed(peer);
  const occupy = (peer: string, work: Promise<void>): void => {
    const occupied = work.finally(() => {
      busy.delete(peer);
      pump();
    });
    busy.set(peer, occupied);
  };
  const pump = (): void => {
    if (stopping.signal.aborted) return;
    for (const pair of [...pairs]) {
      if (!isFree(pair.second.peer)) continue;
      pairs.splice(pairs.indexOf(pair), 1);
      occupy(pair.second.peer, guardPair(pair));
    }
    for (const { lane, job } of lanes.ready()) {
      if (!isFree(job.peer)) continue;
      lanes.take(lane);
      const work = guard(job, advance(lane, job)).finally(() => {
        lane.isBusy = false;
      });
      occupy(job.peer, work);
    }
  };
  const isShareUsed = (peer: string): boolean =>
    standing.isNewcomer(peer) && [...busy.keys()].filter(standing.isNewcomer).length >= maxFetches / 2;

  /** Our own trouble: the group is ignored, and its lane goes no further without its body. */
  const guard = (job: Job, work: Promise<void>): Promise<void> =>
    work.catch(async (error: unknown) => {
      if (stopping.signal.aborted) return;
      logger.error({ group: job.groupIdHex, error: errorText(error) }, 'group could not be looked into');
      await closeLane(job, ignore('INTERNAL', { note: errorText(error).slice(0, 200) }));
    });

  const closeLane = async (job: Job, answer: CheckAnswer): Promise<void> => {
    const { policyStep } = job.announcement;
    // A failed exact check quarantines, so what follows is not looked at.
    const code = answer.answer === 'ignore' ? answer.code : 'QUARANTINED';
    const waiting = lanes.close(job.peer, policyStep, code);
    await ledger.close(job, answer, 0);
    for (const other of waiting) await ledger.close(other, ignore(code), 0);
  };

  /** The body, or why there is none. */
  const obtain = async (job: Job, deadlineMs: number): Promise<GroupBody | CheckAnswer> => {
    const { announcement, peer } = job;
    const hashHex = job.bodyHash;
    // What was here before it was named is not its author's to delete; nor is it read where it cannot be this body.
    const hereBytes = await store.sizeBytes(hashHex);
    if (hereBytes !== null && hereBytes !== announcement.bodyBytes) return wrongSize(announcement, hereBytes);
    const bytes = await fetchBody({ blobs, clock }, { announcement, peer, deadlineMs, signal: stopping.signal });
    if ('answer' in bytes) return bytes;
    const body = readBody(announcement, bytes);
    if (hereBytes !== null) return body;
    if ('answer' in body) {
      // Of another size it came for somebody else, who said the right one.
      if (codeOf(body) !== 'SIZE_MISMATCH') await store.delete(hashHex);
    } else if (isFinal(job)) await ledger.leaveBody(job);
    else job.isFetched = true;
    return body;
  };

  const advance = async (lane: Lane, job: Job): Promise<void> => {
    if (job.state === 'final') return;
    job.state = 'fetching';
    const { announcement, peer, groupIdHex } = job;
    const body = await obtain(job, clock.nowMs() + bodyTimeoutMs);
    if (stopping.signal.aborted || isFinal(job)) return;
    const answer = 'answer' in body ? body : checkBody(context, announcement, body);
    if ('answer' in body || answer.answer !== 'accept') return await closeLane(job, answer);
    lanes.pass(peer, lane.policyStep, announcement.slot, clock.nowMs());
    standing.noteSlot(peer, lane.policyStep, announcement.slot);
    await choose(job, body);
    for (const other of copies.seen(groupIdHex, peer, lane.policyStep, body)) lookClosely(other, job);
    if (isFinal(job)) return;
    job.state = 'queued';
    await components.queue(job);
  };

  const choose = async (job: Job, body: GroupBody): Promise<void> => {
    const { policyStep, lengths } = job.announcement;
    await secrets.commit(policyStep);
    const { lot, sequence } = secrets.choose(policyStep, job.groupId, lengths.length);
    job.isWhole = lot < standing.wholeProbability(job.peer);
    job.sequence = sequence;
    job.body = body;
  };

  /** Both groups of an equal completion are replayed in whole, as far as they still wait. */
  const lookClosely = (otherIdHex: string, job: Job): void => {
    logger.info({ group: job.groupIdHex, other: otherIdHex }, 'two peers show the same completion');
    job.isWhole = true;
    const other = ledger.job(otherIdHex);
    if (other?.state === 'queued') other.isWhole = true;
  };

  /** A second announcement of a slot: lies only if it says other tokens. Its own body first: the other is not read for nothing. */
  const compare = async ({ first, second }: Pair): Promise<void> => {
    if (isFinal(second)) return;
    const deadlineMs = clock.nowMs() + bodyTimeoutMs;
    const two = await obtain(second, deadlineMs);
    const one = 'answer' in two ? two : await obtain(first, deadlineMs);
    if (stopping.signal.aborted) return;
    if ('answer' in two) return await ledger.close(second, two, 0);
    if ('answer' in one) return await ledger.close(second, one, 0);
    if (sameTokens(one, two)) return await ledger.close(second, ignore('SLOT_SEEN'), 0);
    const { policyStep } = first.announcement;
    const waiting = lanes.close(first.peer, policyStep, 'SLOT_EQUIVOCATION');
    await ledger.closeEquivocation(first, second);
    for (const other of waiting) await ledger.close(other, ignore('SLOT_EQUIVOCATION'), 0);
  };

  const guardPair = (pair: Pair): Promise<void> =>
    compare(pair).catch((error: unknown) => {
      logger.error({ group: pair.second.groupIdHex, error: errorText(error) }, 'two groups could not be compared');
    });

  /** @returns whether there is room for it */
  const addPair = (pair: Pair): boolean => {
    const { peer } = pair.second;
    if (pairs.length >= MAX_PAIRS || pairs.filter(({ second }) => second.peer === peer).length >= MAX_PAIRS_EACH) {
      return false;
    }
    pairs.push(pair);
    return true;
  };

  const inBackground = (job: Job, work: Promise<void>): void => {
    const guarded = work
      .catch((error: unknown) => {
        logger.error({ group: job.groupIdHex, error: errorText(error) }, 'group could not be closed');
      })
      .finally(() => others.delete(guarded));
    others.add(guarded);
  };

  return {
    add(job) {
      const { policyStep } = job.announcement;
      const rival = ledger.rivalOf(job);
      if (standing.isQuarantined(job.peer, policyStep)) {
        return inBackground(job, ledger.close(job, ignore('QUARANTINED'), 0));
      }
      if (rival !== null) {
        if (addPair({ first: rival, second: job })) return pump();
        return inBackground(job, ledger.close(job, ignore('SLOT_SEEN'), 0));
      }
      const refused = lanes.add(job, clock.nowMs());
      if (refused !== null) return inBackground(job, ledger.close(job, ignore(refused), 0));
      for (const other of lanes.overflow(standing.isNewcomer)) {
        inBackground(other, ledger.close(other, ignore('NOT_CHECKED', { note: 'its body was never asked for' }), 0));
      }
      if (isFree(job.peer)) pump();
    },
    resume(job, answer) {
      const code = codeOf(answer);
      const { policyStep, slot } = job.announcement;
      if (code !== null && CLOSING.has(code)) lanes.close(job.peer, policyStep, code);
      else if (code !== null && ENDING.has(code)) lanes.endAt(job.peer, policyStep, slot);
      else {
        lanes.pass(job.peer, policyStep, slot, clock.nowMs());
        standing.noteSlot(job.peer, policyStep, slot);
      }
    },
    closeStalled() {
      for (const lane of lanes.stalled(clock.nowMs() - bodyTimeoutMs)) {
        for (const job of lanes.close(lane.peer, lane.policyStep, 'BODY_MISSING')) {
          const note = `slot ${lane.next} was never announced`;
          inBackground(job, ledger.close(job, ignore('BODY_MISSING', { note }), 0));
        }
      }
    },
    forgetBefore(policyStep) {
      lanes.forgetBefore(policyStep);
      copies.forgetBefore(policyStep);
    },
    stop: () => stopping.abort(),
    async idle() {
      await Promise.allSettled([...busy.values(), ...others]);
    },
  };
}

/** Read through a function: the state changes while others wait. */
function isFinal(job: Job): boolean {
  return job.state === 'final';
}
