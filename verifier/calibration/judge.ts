// One told group under the verifier's own checks, and what they measured. Honest or not, this is all that is kept of a group.

import type { ReplayedSequence } from '../../node/protocol/ports.ts';
import type { VerificationLimits } from '../../node/protocol/verdict.ts';
import { type Measures, measure } from '../checks/measure.ts';
import { checkReplayedTokens, drawnOf } from '../checks/replay.ts';
import { checkBody } from '../checks/stage-one.ts';
import { judgeReplay } from '../checks/stage-two.ts';
import { replaySubject } from '../checks/subject.ts';
import { distancesOf } from '../checks/toploc.ts';
import type { TopValuesScratch } from '../toploc/top-values.ts';
import { announcementOf, bodyOf, type Told, type Truth } from './groups.ts';

type Answer = 'accept' | 'ignore' | 'reject';

export interface JudgedSequence {
  readonly tokens: number;
  /** whether it is a lie, not only its group */
  readonly lied: boolean;
  /** stage 2 of the body as told */
  readonly answer: Answer;
  /** stage 2 of a forger's: draws alone; true claims have no distance */
  readonly forged: Answer;
  readonly softMisses: number;
  readonly measures: Measures;
}

export interface JudgedGroup {
  /** stage 1 of the whole body */
  readonly stageOne: Answer;
  readonly sequences: readonly JudgedSequence[];
}

/** @param scratch of TOPLOC's, used again for every group */
export function judgeGroup(
  truth: Truth,
  told: Told,
  replayed: readonly ReplayedSequence[],
  limits: VerificationLimits,
  scratch: TopValuesScratch,
): JudgedGroup {
  const { context } = truth;
  const body = bodyOf(told, context.hiddenSize, scratch);
  const announcement = announcementOf(truth, told);
  return {
    stageOne: checkBody(context, announcement, body).answer,
    sequences: body.sequences.map(({ tokens }, i) => {
      const unknown = replaySubject(context, announcement, body, i, replayed[i]!, limits);
      const known = { drawn: drawnOf(unknown), distances: distancesOf(unknown, scratch) };
      const subject = { ...unknown, known };
      const draws = checkReplayedTokens(subject);
      return {
        tokens: tokens.length,
        lied: told.lied[i]!,
        answer: judgeReplay(subject).answer,
        forged: draws.answer.answer,
        softMisses: draws.softMisses,
        measures: measure(subject, known),
      };
    }),
  };
}

/** The verdict on a whole group: the gravest of its answers. */
export function verdictOf({ stageOne, sequences }: JudgedGroup, claims: 'told' | 'forged'): Answer {
  const answers = [stageOne, ...sequences.map(({ answer, forged }) => (claims === 'told' ? answer : forged))];
  return answers.includes('reject') ? 'reject' : answers.includes('ignore') ? 'ignore' : 'accept';
}
