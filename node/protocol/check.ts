// What a check on a thing from the network says. Checks answer, they do not throw: an unexpected error of ours is `ignore`.
// Source: design.md "Who trusts what"; spec/rollouts.md "Order of checks".

/** Why something was not accepted. `ignore` codes cost nobody standing, `reject` codes are somebody's fault. */
export type CheckCode =
  // stage 0, gossip validator
  | 'TOO_LARGE'
  | 'MALFORMED'
  | 'BAD_SIGNATURE'
  | 'WRONG_NETWORK'
  | 'UNSUPPORTED_VERSION'
  | 'UNKNOWN_RECIPE'
  | 'RECIPE_CLOSED'
  | 'UNKNOWN_ROOT'
  | 'ROOT_REPEATED'
  | 'TOO_OLD'
  | 'SLOT_SEEN'
  | 'SLOT_OUT_OF_RANGE'
  | 'STEP_BACKWARD'
  | 'RATE_LIMITED'
  | 'QUARANTINED'
  | 'NOT_A_TRAINER'
  | 'NOT_THE_AUTHOR'
  | 'NOT_A_VERIFIER'
  | 'EQUIVOCATION'
  | 'PARENT_UNKNOWN'
  | 'DUPLICATE'
  | 'TOO_MANY_PARKED'
  // stage 1, body
  | 'BODY_MISSING'
  | 'BODY_HASH'
  | 'BODY_MALFORMED'
  | 'SIZE_MISMATCH'
  | 'PROMPT_MISMATCH'
  | 'TOKEN_OUT_OF_RANGE'
  | 'LOGPROB_INVALID'
  | 'FINISH_REASON'
  | 'REWARD_MISMATCH'
  | 'PROOF_MALFORMED'
  | 'PROOF_COUNT'
  // stage 2, model
  | 'REPLAY_MISMATCH'
  | 'SLACK_ABUSED'
  | 'LOGPROB_DRIFT'
  | 'TOPLOC_MISMATCH'
  | 'BORDERLINE'
  | 'NOT_CHECKED'
  | 'POLICY_UNAVAILABLE'
  | 'SLOT_EQUIVOCATION'
  | 'INTERNAL';

/** The numbers that let anybody repeat a rejection. Absent fields do not apply. */
export interface Evidence {
  /** index of the sequence in its group */
  readonly sequence?: number;
  /** index of the token in the completion, or of the proof's chunk */
  readonly position?: number;
  /** the uniform drawn, and the recomputed interval [x, y) that had to hold it */
  readonly u?: number;
  readonly x?: number;
  readonly y?: number;
  /** what was measured or claimed, against which limit */
  readonly measured?: number;
  readonly limit?: number;
  readonly note?: string;
}

export type CheckAnswer =
  | { readonly answer: 'accept' }
  | { readonly answer: 'ignore'; readonly code: CheckCode; readonly evidence?: Evidence }
  | { readonly answer: 'reject'; readonly code: CheckCode; readonly evidence?: Evidence };

/** Nothing was found wrong. */
export const ACCEPT: CheckAnswer = { answer: 'accept' };

/** An answer that costs nobody standing. */
export function ignore(code: CheckCode, evidence?: Evidence): CheckAnswer {
  return evidence === undefined ? { answer: 'ignore', code } : { answer: 'ignore', code, evidence };
}

/** An answer that is somebody’s fault: the evidence must let anybody repeat it. */
export function reject(code: CheckCode, evidence?: Evidence): CheckAnswer {
  return evidence === undefined ? { answer: 'reject', code } : { answer: 'reject', code, evidence };
}

/** Why it was not accepted, null when it was. */
export function codeOf(answer: CheckAnswer): CheckCode | null {
  return answer.answer === 'accept' ? null : answer.code;
}

/** Rejections by one sequence beside its replay: whoever replays that sequence finds the same. */
export const SEQUENCE_CODES: ReadonlySet<CheckCode> = new Set(['REPLAY_MISMATCH', 'LOGPROB_DRIFT', 'TOPLOC_MISMATCH']);

/** Checks that compare floating-point numbers: an honest machine may fail one. All other rejections are exact. */
export const NUMERICAL_CODES: ReadonlySet<CheckCode> = new Set([...SEQUENCE_CODES, 'SLACK_ABUSED']);

/** Rejections by the body alone, stage 1: whoever has the body finds the same. */
export const BODY_CODES: ReadonlySet<CheckCode> = new Set([
  'BODY_MALFORMED',
  'SIZE_MISMATCH',
  'PROMPT_MISMATCH',
  'TOKEN_OUT_OF_RANGE',
  'LOGPROB_INVALID',
  'FINISH_REASON',
  'REWARD_MISMATCH',
  'PROOF_MALFORMED',
  'PROOF_COUNT',
]);
