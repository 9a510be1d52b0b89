// Acceptances of other verifiers beside our own answers on the same groups: which were confirmed, which were false.
// Source: spec/rollouts.md "Order of checks": a verifier replays one secretly chosen sequence of a group, or all. So who accepts
// on a sample what we reject for one sequence may be honest; the secret, shown once the step has left maxLag, says whether it
// had to look at that very sequence.
// Invariant: one acceptance of a verifier and group is counted at most once each way. In memory, forgets by step.

import { toHex } from '../node/protocol/bytes.ts';
import { BODY_CODES, SEQUENCE_CODES } from '../node/protocol/check.ts';
import type { PeerIdString } from '../node/protocol/ports.ts';
import type { StepSecret } from '../node/protocol/secret.ts';
import type { Verdict } from '../node/protocol/verdict.ts';
import { type Commitments, LATE_STEPS } from './commitments.ts';
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
  /** our own verdict */
  ours(verdict: Verdict, groupSize: number): readonly Finding[];
  forgetBefore(policyStep: number): readonly Finding[];
}

interface Acceptance {
  readonly verifier: PeerIdString;
  readonly verdict: Verdict;
  is: 'open' | 'confirmed' | 'contradicted';
}

interface Own {
  readonly verdict: Verdict;
  readonly groupSize: number;
}

/** An acceptance on a sample of a group that we rejected for one sequence. */
interface Excuse {
  readonly verifier: PeerIdString;
  readonly verdict: Verdict;
  readonly groupSize: number;
  readonly sequence: number;
}

/** @param init `pMin`: a group is replayed whole with at least this probability, whoever checks */
export function createAcceptances(
  components: { readonly commitments: Commitments },
  init: { readonly pMin: number },
): Acceptances {
  const { commitments } = components;
  const kept = new Map<string, Map<PeerIdString, Acceptance>>();
  const own = new Map<string, Own>();
  /** by the hash of the secret that decides */
  const excuses = new Map<string, Excuse[]>();
  let count = 0;

  const drop = (groupIdHex: string): void => {
    count -= kept.get(groupIdHex)?.size ?? 0;
    kept.delete(groupIdHex);
  };

  const settle = (acceptance: Acceptance, { verdict: mine, groupSize }: Own): readonly Finding[] => {
    const { verifier, verdict } = acceptance;
    const groupIdHex = toHex(verdict.groupId);
    if (mine.answer === 'accept') {
      if (acceptance.is !== 'open' || !commitments.areOf(verifier, verdict)) return [];
      acceptance.is = 'confirmed';
      return [{ verifier, groupIdHex, is: 'confirmed' }];
    }
    const { code } = mine;
    if (mine.answer !== 'reject' || code === null || acceptance.is === 'contradicted') return [];
    const isWhole = verdict.sequencesReplayed >= groupSize;
    if (BODY_CODES.has(code) || (isWhole && SEQUENCE_CODES.has(code))) {
      acceptance.is = 'contradicted';
      return [{ verifier, groupIdHex, is: 'contradicted' }];
    }
    const sequence = mine.evidence?.sequence;
    if (!SEQUENCE_CODES.has(code) || sequence === undefined) return [];
    acceptance.is = 'contradicted';
    const hash = toHex(verdict.secretHash);
    excuses.set(hash, [...(excuses.get(hash) ?? []), { verifier, verdict, groupSize, sequence }]);
    return [];
  };

  /** Whether the secret had the verifier look at the sequence that we found wrong. */
  const lookedAtIt = (secret: Uint8Array, { verdict, groupSize, sequence }: Excuse): boolean => {
    const choice = choiceOf(secret, verdict.groupId, groupSize);
    return choice.lot < init.pMin || choice.sequence === sequence;
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
      const acceptance: Acceptance = { verifier, verdict, is: 'open' };
      kept.set(groupIdHex, ofGroup.set(verifier, acceptance));
      count++;
      while (count > MAX_KEPT) drop(kept.keys().next().value!);
      const mine = own.get(groupIdHex);
      return mine === undefined ? [] : settle(acceptance, mine);
    },
    ours(verdict, groupSize) {
      const groupIdHex = toHex(verdict.groupId);
      const mine = { verdict, groupSize };
      own.set(groupIdHex, mine);
      return [...(kept.get(groupIdHex)?.values() ?? [])].flatMap((acceptance) => settle(acceptance, mine));
    },
    forgetBefore(policyStep) {
      for (const [id, ofGroup] of kept) {
        if ([...ofGroup.values()].every(({ verdict }) => verdict.policyStep < policyStep)) drop(id);
      }
      for (const [id, { verdict }] of own) if (verdict.policyStep < policyStep) own.delete(id);
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
