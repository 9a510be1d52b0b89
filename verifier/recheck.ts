// Repeating another verifier's rejection: the body through stage 1, and of stage 2 only the sequence that the evidence names.
// Source: design.md "Who trusts what"; spec/rollouts.md "Limits have two sides": between the limits nobody is wrong.

import { toHex } from '../node/protocol/bytes.ts';
import { BODY_CODES, type CheckAnswer, type CheckCode, SEQUENCE_CODES } from '../node/protocol/check.ts';
import type { BlobFetcher, PeerIdString } from '../node/protocol/ports.ts';
import type { Verdict } from '../node/protocol/verdict.ts';
import { readBody } from './checks/body-bytes.ts';
import { checkBody } from './checks/stage-one.ts';
import type { BodyContext } from './checks/subject.ts';
import type { Job } from './job.ts';
import type { Replayer } from './replayer.ts';

/** A body that is not here is asked for once: whoever rejects a group has had it. Our own. */
const BODY_TIMEOUT_MS = 10_000;

export type Rejection = Extract<CheckAnswer, { readonly answer: 'reject' }>;

/** repeats: found wrong here too, with our own numbers. differs: found right here. unsettled: it lies between the limits. */
export type RecheckResult =
  | { readonly outcome: 'repeats'; readonly answer: Rejection }
  | { readonly outcome: 'differs' }
  | { readonly outcome: 'unsettled' };

/**
 * What a rejection lets others repeat. body: stage 1; a number: that sequence; `elsewhere`: it rests on more than this group
 * (another announcement, a peer's past), so others find it themselves or not at all; `nothing`: no check rejects like that.
 */
export type Claim = 'body' | 'elsewhere' | 'nothing' | number;

/** Rejections that rest on more than their group: two announcements, a window of a peer's groups. */
export const ELSEWHERE: ReadonlySet<CheckCode> = new Set(['SLOT_EQUIVOCATION', 'SLACK_ABUSED']);

/** @param groupSize of the announcement */
export function claimOf({ code, evidence }: Verdict, groupSize: number): Claim {
  if (code === null) return 'nothing';
  if (ELSEWHERE.has(code)) return 'elsewhere';
  if (BODY_CODES.has(code)) return 'body';
  const sequence = evidence?.sequence;
  return SEQUENCE_CODES.has(code) && sequence !== undefined && sequence < groupSize ? sequence : 'nothing';
}

/** Tokens that a recheck looks at; of a body that is not here the prompt is not known and left out. */
export function claimTokens(claim: Claim, { announcement }: Job): number {
  if (typeof claim === 'number') return announcement.lengths[claim]!;
  return claim === 'body' ? announcement.lengths.reduce((sum, length) => sum + length, 0) : 0;
}

export interface RecheckComponents {
  readonly blobs: BlobFetcher;
  readonly replayer: Pick<Replayer, 'judgeSequence'>;
}

/**
 * Repeats one claim on one group.
 * @returns null when the policy is not here, or its replay is not finite: that may pass
 * @throws what is our own trouble (BLOB_MISSING, ENGINE_FAILED, DISK_FULL, …): so may that
 */
export async function recheck(
  { blobs, replayer }: RecheckComponents,
  context: BodyContext,
  subject: { readonly job: Job; readonly claim: 'body' | number; readonly verifier: PeerIdString },
  signal: AbortSignal,
): Promise<RecheckResult | null> {
  const { job, claim, verifier } = subject;
  const { announcement } = job;
  const bytes = await blobs.fetch(toHex(announcement.bodyHash), {
    sizeBytes: announcement.bodyBytes,
    from: [job.peer, verifier],
    timeoutMs: BODY_TIMEOUT_MS,
    signal,
  });
  const body = readBody(announcement, bytes);
  if ('answer' in body) return resultOf(body);
  const answer = checkBody(context, announcement, body);
  if (answer.answer !== 'accept' || claim === 'body') return resultOf(answer);
  return resultOf(await replayer.judgeSequence(job, body, claim, signal));
}

function resultOf(answer: CheckAnswer | null): RecheckResult | null {
  if (answer?.answer === 'accept') return { outcome: 'differs' };
  if (answer?.answer === 'reject') return { outcome: 'repeats', answer };
  return answer?.code === 'BORDERLINE' ? { outcome: 'unsettled' } : null;
}
