// What a verifier says of a group, with the numbers that let anybody repeat a rejection.
// Source: kind "verdict" of spec/wire.md; design.md "Who trusts what".

import type { CheckCode, Evidence } from './check.ts';
import {
  decodeMessage,
  encodeMessage,
  hashField,
  integerField,
  malformed,
  oneOf,
  peerIdField,
  required,
} from './codec.ts';
import { MAX_GROUP_SIZE, NOTE_MAX, VERDICT_MAX_BYTES } from './limits.ts';
import { VerdictSchema, type Evidence as WireEvidence, type VerificationLimits as WireLimits } from './messages_pb.ts';

/** The limits that a verifier applied. Source: spec/rollouts.md "Replay", spec/toploc.md. */
export interface VerificationLimits {
  readonly delta: number;
  readonly maxLogprobDrift: number;
  readonly maxMeanLogprobDrift: number;
  readonly maxExponentMismatches: number;
  readonly maxMantissaErrorMean: number;
  readonly maxMantissaErrorMedian: number;
}

export interface Verdict {
  readonly recipeId: Uint8Array;
  readonly policyStep: number;
  readonly groupId: Uint8Array;
  /** whose group it is, multihash of 38 bytes */
  readonly peerId: Uint8Array;
  readonly slot: number;
  readonly answer: 'accept' | 'ignore' | 'reject';
  /** null exactly when the answer is accept */
  readonly code: CheckCode | null;
  readonly evidence?: Evidence;
  readonly limits: VerificationLimits;
  /** H(the verifier's sampling secret of this step) */
  readonly secretHash: Uint8Array;
  readonly sequencesReplayed: number;
}

/** Total by type: a code that is missing here does not compile. */
const CODES: Readonly<Record<CheckCode, true>> = {
  TOO_LARGE: true,
  MALFORMED: true,
  BAD_SIGNATURE: true,
  WRONG_NETWORK: true,
  UNSUPPORTED_VERSION: true,
  UNKNOWN_RECIPE: true,
  RECIPE_CLOSED: true,
  UNKNOWN_ROOT: true,
  ROOT_REPEATED: true,
  TOO_OLD: true,
  SLOT_SEEN: true,
  SLOT_OUT_OF_RANGE: true,
  STEP_BACKWARD: true,
  RATE_LIMITED: true,
  QUARANTINED: true,
  NOT_A_TRAINER: true,
  NOT_THE_AUTHOR: true,
  NOT_A_VERIFIER: true,
  EQUIVOCATION: true,
  PARENT_UNKNOWN: true,
  DUPLICATE: true,
  TOO_MANY_PARKED: true,
  BODY_MISSING: true,
  BODY_HASH: true,
  BODY_MALFORMED: true,
  SIZE_MISMATCH: true,
  PROMPT_MISMATCH: true,
  TOKEN_OUT_OF_RANGE: true,
  LOGPROB_INVALID: true,
  FINISH_REASON: true,
  REWARD_MISMATCH: true,
  PROOF_MALFORMED: true,
  PROOF_COUNT: true,
  REPLAY_MISMATCH: true,
  SLACK_ABUSED: true,
  LOGPROB_DRIFT: true,
  TOPLOC_MISMATCH: true,
  BORDERLINE: true,
  NOT_CHECKED: true,
  POLICY_UNAVAILABLE: true,
  SLOT_EQUIVOCATION: true,
  INTERNAL: true,
};

/** Whether a text is a check's code. */
export function isCheckCode(text: string): text is CheckCode {
  return Object.hasOwn(CODES, text);
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function encodeVerdict(verdict: Verdict): Uint8Array {
  const { evidence, ...rest } = verdict;
  return encodeMessage(
    VerdictSchema,
    'verdict',
    {
      ...rest,
      code: verdict.code ?? '',
      limits: { ...verdict.limits },
      ...(evidence === undefined ? {} : { evidence: { ...evidence } }),
    },
    decodeVerdict,
  );
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeVerdict(bytes: Uint8Array): Verdict {
  const wire = decodeMessage(VerdictSchema, 'verdict', bytes, VERDICT_MAX_BYTES);
  const answer = oneOf('answer', wire.answer, ['accept', 'ignore', 'reject']);
  return {
    recipeId: hashField('recipeId', wire.recipeId),
    policyStep: wire.policyStep,
    groupId: hashField('groupId', wire.groupId),
    peerId: peerIdField('peerId', wire.peerId),
    slot: wire.slot,
    answer,
    code: codeOf(answer, wire.code),
    ...(wire.evidence === undefined ? {} : { evidence: evidenceFromWire(wire.evidence) }),
    limits: limitsFromWire(required('limits', wire.limits)),
    secretHash: hashField('secretHash', wire.secretHash),
    sequencesReplayed: integerField('sequencesReplayed', wire.sequencesReplayed, 0, MAX_GROUP_SIZE),
  };
}

function codeOf(answer: Verdict['answer'], code: string): CheckCode | null {
  if (answer === 'accept') {
    if (code !== '') throw malformed('code', 'none beside accept');
    return null;
  }
  if (!isCheckCode(code)) throw malformed('code', 'a code of a check', JSON.stringify(code.slice(0, 32)));
  return code;
}

const EVIDENCE_NUMBERS = ['sequence', 'position', 'u', 'x', 'y', 'measured', 'limit'] as const;

function evidenceFromWire(wire: WireEvidence): Evidence {
  const evidence: { -readonly [K in keyof Evidence]: Evidence[K] } = {};
  for (const name of EVIDENCE_NUMBERS) {
    const value = wire[name];
    if (value !== undefined) evidence[name] = value;
  }
  if (wire.note !== undefined) {
    if (wire.note.length > NOTE_MAX) throw malformed('note', `at most ${NOTE_MAX} characters`, wire.note.length);
    evidence.note = wire.note;
  }
  return evidence;
}

function limitsFromWire(wire: WireLimits): VerificationLimits {
  const { delta, maxLogprobDrift, maxMeanLogprobDrift } = wire;
  const { maxExponentMismatches, maxMantissaErrorMean, maxMantissaErrorMedian } = wire;
  const limits = {
    delta,
    maxLogprobDrift,
    maxMeanLogprobDrift,
    maxExponentMismatches,
    maxMantissaErrorMean,
    maxMantissaErrorMedian,
  };
  for (const [name, value] of Object.entries(limits)) {
    if (!(value >= 0) || value === Infinity) throw malformed(`limits.${name}`, 'a finite number ≥ 0', value);
  }
  return limits;
}
