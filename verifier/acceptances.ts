// Acceptances of other verifiers beside our own answers on the same groups: which were confirmed, which were false.
// Source: spec/rollouts.md "Order of checks": a verifier replays one secretly chosen sequence of a group, or all. So who accepts
// on a sample what we reject for one sequence may be honest; the secret, shown once the step has left maxLag, says whether it
// had to look at that very sequence.
// Invariants: an acceptance that comes after our own answer confirms nothing, for it may be an echo of that; one acceptance of a
// verifier and group is counted at most once each way. In memory, bounded, forgets by step.

import { toHex } from '../node/protocol/bytes.ts';
import { BODY_CODES, type CheckAnswer, SEQUENCE_CODES } from '../node/protocol/check.ts';
import type { PeerIdString } from '../node/protocol/ports.ts';
import type { Verdict } from '../node/protocol/verdict.ts';
import { LATE_STEPS } from './checks/stage-zero.ts';
import type { Commitments } from './commitments.ts';
import type { Ledger } from './ledger.ts';
import { createRoom } from './room.ts';
import { choiceOf } from './secrets.ts';
import type { VerifierStandings } from './verifier-standing.ts';

/** Acceptances kept at a time, in all and of one verifier. Our own. */
const MAX_KEPT = 65_536;
export const MAX_ACCEPTANCES_EACH = 4_096;

/** What comes of an acceptance. `unexplained`: its secret was never shown. */
export type Finding = {
  readonly verifier: PeerIdString;
  readonly groupIdHex: string;
  readonly is: 'confirmed' | 'contradicted' | 'unexplained';
};

export interface Acceptances {
  /** somebody else's acceptance */
  theirs(verifier: PeerIdString, verdict: Verdict): readonly Finding[];
  /** we answered for a group */
  ours(groupIdHex: string): readonly Finding[];
  /** secrets were shown since the last call */
  explained(): readonly Finding[];
  /** @param policyStep the oldest within maxLag */
  forgetBefore(policyStep: number): readonly Finding[];
}

interface Acceptance extends Pick<Verdict, 'groupId' | 'secretHash' | 'sequencesReplayed'> {
  /** as its verifier says, until we have answered for the group */
  policyStep: number;
  readonly verifier: PeerIdString;
  /** open: said before our own answer. echo: after it. doubtful: of a group that we rejected for one sequence. settled: for good */
  is: 'open' | 'echo' | 'confirmed' | 'doubtful' | 'settled';
  /** the sequence of a doubtful one */
  sequence: number;
}

export interface AcceptancesComponents {
  readonly commitments: Commitments;
  readonly ledger: Pick<Ledger, 'answerOn' | 'job'>;
  readonly standings: Pick<VerifierStandings, 'isStranger'>;
}

/** @param init `pMin`: a group is replayed whole with at least this probability, whoever checks */
export function createAcceptances(
  { commitments, ledger, standings: { isStranger } }: AcceptancesComponents,
  init: { readonly pMin: number; readonly groupSize: number },
): Acceptances {
  const { pMin, groupSize } = init;
  const room = createRoom<Acceptance>({ max: MAX_KEPT, maxEach: MAX_ACCEPTANCES_EACH, isStranger });

  const found = ({ verifier, groupId }: Acceptance, is: Finding['is']): readonly Finding[] => [
    { verifier, groupIdHex: toHex(groupId), is },
  ];

  const settle = (said: Acceptance, mine: CheckAnswer | null): readonly Finding[] => {
    if (mine === null || mine.answer === 'ignore' || said.is === 'doubtful' || said.is === 'settled') return [];
    // Whoever names another step than the group's would choose among the secrets of several.
    said.policyStep = ledger.job(toHex(said.groupId))?.announcement.policyStep ?? said.policyStep;
    if (mine.answer === 'accept') {
      if (said.is !== 'open' || !commitments.areOf(said.verifier, said)) return [];
      said.is = 'confirmed';
      return found(said, 'confirmed');
    }
    const isWhole = said.sequencesReplayed >= groupSize;
    if (BODY_CODES.has(mine.code) || (isWhole && SEQUENCE_CODES.has(mine.code))) {
      said.is = 'settled';
      return found(said, 'contradicted');
    }
    const sequence = mine.evidence?.sequence;
    if (!SEQUENCE_CODES.has(mine.code) || sequence === undefined) return [];
    Object.assign(said, { is: 'doubtful', sequence });
    return explain(said);
  };

  /** False when the secret had the verifier look at the sequence that we found wrong; nothing to say while it is not shown. */
  const explain = (said: Acceptance): readonly Finding[] => {
    const secret = said.is === 'doubtful' ? commitments.secretOf(said) : null;
    if (secret === null) return [];
    said.is = 'settled';
    const choice = choiceOf(secret, said.groupId, groupSize);
    return choice.lot < pMin || choice.sequence === said.sequence ? found(said, 'contradicted') : [];
  };

  return {
    theirs(verifier, { policyStep, groupId, secretHash, sequencesReplayed }) {
      const groupIdHex = toHex(groupId);
      const mine = ledger.answerOn(groupIdHex);
      const is = mine === null ? 'open' : 'echo';
      const said: Acceptance = { verifier, policyStep, groupId, secretHash, sequencesReplayed, is, sequence: -1 };
      return room.add(verifier, groupIdHex, said) ? settle(said, mine) : [];
    },
    ours(groupIdHex) {
      const mine = ledger.answerOn(groupIdHex);
      return [...room.on(groupIdHex).values()].flatMap((said) => settle(said, mine));
    },
    explained: () => room.all().flatMap(explain),
    forgetBefore(policyStep) {
      const isOver = (said: Acceptance): boolean => said.policyStep < policyStep - LATE_STEPS;
      const unexplained = room.all().filter((said) => isOver(said) && said.is === 'doubtful');
      room.forget(isOver);
      return unexplained.flatMap((said) => found(said, 'unexplained'));
    },
  };
}
