// Acceptances of other verifiers beside our own answers on the same groups: which were confirmed, which were false.
// Source: spec/rollouts.md "Order of checks": a verifier replays one secretly chosen sequence of a group, or all. So who accepts
// on a sample what we reject for one sequence may be honest; the secret, shown once the step has left maxLag, says whether it
// had to look at that very sequence.
// Invariants: an acceptance that comes after our own answer confirms nothing, for it may be an echo of that; one acceptance of a
// verifier and group is counted at most once each way. In memory, forgets by step.

import { toHex } from '../node/protocol/bytes.ts';
import { BODY_CODES, type CheckAnswer, SEQUENCE_CODES } from '../node/protocol/check.ts';
import type { PeerIdString } from '../node/protocol/ports.ts';
import type { StepSecret } from '../node/protocol/secret.ts';
import type { Verdict } from '../node/protocol/verdict.ts';
import { LATE_STEPS } from './checks/stage-zero.ts';
import type { Commitments } from './commitments.ts';
import type { Ledger } from './ledger.ts';
import { choiceOf } from './secrets.ts';

/** Acceptances kept at a time; the oldest leave. Our own. */
const MAX_KEPT = 65_536;

/** What comes of an acceptance. `unexplained`: its secret was never shown. */
export type Finding = {
  readonly verifier: PeerIdString;
  readonly groupIdHex: string;
  readonly is: 'confirmed' | 'contradicted' | 'unexplained';
};

export interface Acceptances {
  /** a secret that was shown */
  shown(secret: StepSecret): readonly Finding[];
  /** somebody else's acceptance */
  theirs(verifier: PeerIdString, verdict: Verdict): readonly Finding[];
  /** we answered for a group */
  ours(groupIdHex: string): readonly Finding[];
  forgetBefore(policyStep: number): readonly Finding[];
}

interface Acceptance {
  readonly verifier: PeerIdString;
  readonly verdict: Verdict;
  /** open: said before our own answer. echo: after it. */
  is: 'open' | 'echo' | 'confirmed' | 'contradicted';
}

/** An acceptance on a sample of a group that we rejected for one sequence. */
interface Excuse {
  readonly verifier: PeerIdString;
  readonly verdict: Verdict;
  readonly sequence: number;
}

/** @param init `pMin`: a group is replayed whole with at least this probability, whoever checks */
export function createAcceptances(
  components: { readonly commitments: Commitments; readonly ledger: Pick<Ledger, 'answerOn'> },
  init: { readonly pMin: number; readonly groupSize: number },
): Acceptances {
  const { commitments, ledger } = components;
  const { pMin, groupSize } = init;
  const kept = new Map<string, Map<PeerIdString, Acceptance>>();
  /** by the hash of the secret that decides */
  const excuses = new Map<string, Excuse[]>();
  let count = 0;

  const drop = (groupIdHex: string): void => {
    count -= kept.get(groupIdHex)?.size ?? 0;
    kept.delete(groupIdHex);
  };

  const settle = (acceptance: Acceptance, mine: CheckAnswer | null): readonly Finding[] => {
    const { verifier, verdict } = acceptance;
    const groupIdHex = toHex(verdict.groupId);
    if (mine === null || mine.answer === 'ignore') return [];
    if (mine.answer === 'accept') {
      if (acceptance.is !== 'open' || !commitments.areOf(verifier, verdict)) return [];
      acceptance.is = 'confirmed';
      return [{ verifier, groupIdHex, is: 'confirmed' }];
    }
    if (acceptance.is === 'contradicted') return [];
    const { code } = mine;
    const isWhole = verdict.sequencesReplayed >= groupSize;
    if (BODY_CODES.has(code) || (isWhole && SEQUENCE_CODES.has(code))) {
      acceptance.is = 'contradicted';
      return [{ verifier, groupIdHex, is: 'contradicted' }];
    }
    const sequence = mine.evidence?.sequence;
    if (!SEQUENCE_CODES.has(code) || sequence === undefined) return [];
    acceptance.is = 'contradicted';
    const hash = toHex(verdict.secretHash);
    excuses.set(hash, [...(excuses.get(hash) ?? []), { verifier, verdict, sequence }]);
    return [];
  };

  /** Whether the secret had the verifier look at the sequence that we found wrong. */
  const lookedAtIt = (secret: Uint8Array, { verdict, sequence }: Excuse): boolean => {
    const choice = choiceOf(secret, verdict.groupId, groupSize);
    return choice.lot < pMin || choice.sequence === sequence;
  };

  return {
    shown({ secretHash, secret }) {
      if (secret === null) return [];
      const hash = toHex(secretHash);
      const waiting = excuses.get(hash) ?? [];
      excuses.delete(hash);
      return waiting
        .filter((excuse) => lookedAtIt(secret, excuse))
        .map((excuse) => ({
          verifier: excuse.verifier,
          groupIdHex: toHex(excuse.verdict.groupId),
          is: 'contradicted',
        }));
    },
    theirs(verifier, verdict) {
      const groupIdHex = toHex(verdict.groupId);
      const ofGroup = kept.get(groupIdHex) ?? new Map<PeerIdString, Acceptance>();
      if (ofGroup.has(verifier)) return [];
      const mine = ledger.answerOn(groupIdHex);
      const acceptance: Acceptance = { verifier, verdict, is: mine === null ? 'open' : 'echo' };
      kept.set(groupIdHex, ofGroup.set(verifier, acceptance));
      count++;
      while (count > MAX_KEPT) drop(kept.keys().next().value!);
      return settle(acceptance, mine);
    },
    ours(groupIdHex) {
      const mine = ledger.answerOn(groupIdHex);
      return [...(kept.get(groupIdHex)?.values() ?? [])].flatMap((acceptance) => settle(acceptance, mine));
    },
    forgetBefore(policyStep) {
      for (const [id, ofGroup] of kept) {
        if ([...ofGroup.values()].every(({ verdict }) => verdict.policyStep < policyStep)) drop(id);
      }
      const late = policyStep - LATE_STEPS;
      const findings: Finding[] = [];
      for (const [hash, waiting] of excuses) {
        if (waiting.some(({ verdict }) => verdict.policyStep >= late)) continue;
        excuses.delete(hash);
        for (const { verifier, verdict } of waiting) {
          findings.push({ verifier, groupIdHex: toHex(verdict.groupId), is: 'unexplained' });
        }
      }
      return findings;
    },
  };
}
