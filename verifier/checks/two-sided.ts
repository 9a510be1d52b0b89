// Limits have two sides: within, accept; beyond twice the limit, reject; between, ignore(BORDERLINE), which costs nobody standing.
// Source: spec/rollouts.md "Replay" (two sides). Exact checks do not come here.

import { ACCEPT, type CheckAnswer, type CheckCode, type Evidence, ignore, reject } from '../../node/protocol/check.ts';

/** The far side of every limit, as a multiple of it. */
export const REJECT_FACTOR = 2;

/**
 * Holds a measurement against a limit. NaN is beyond every limit.
 * @param where what else repeats the measurement
 */
export function holdAgainst(measured: number, limit: number, code: CheckCode, where: Evidence): CheckAnswer {
  if (measured <= limit) return ACCEPT;
  const evidence: Evidence = { ...where, measured, limit };
  return measured <= REJECT_FACTOR * limit ? ignore('BORDERLINE', evidence) : reject(code, evidence);
}

/** The graver of two answers: reject before ignore before accept; of equals, the first. */
export function graver(first: CheckAnswer, second: CheckAnswer): CheckAnswer {
  return GRAVITY[second.answer] > GRAVITY[first.answer] ? second : first;
}

const GRAVITY: Readonly<Record<CheckAnswer['answer'], number>> = { accept: 0, ignore: 1, reject: 2 };
