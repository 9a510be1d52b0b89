// What each other verifier has earned with this one: verdicts of its that our own checks confirmed or contradicted, and silence.
// Source: design.md "Who trusts what" (a rejection that does not repeat silences its verifier for 14 steps; acceptances count
// from verifiers whose verdicts one's own checks confirmed often enough).
// Invariants: one contradiction takes all standing at once, and makes it the slower to earn again; a change is on disk when its
// promise resolves; however many keys speak, MAX_KEPT of them are remembered beside those that the recipe names.

import { fromHex, fromUtf8, utf8 } from '../node/protocol/bytes.ts';
import { peerIdOfPublicKey, peerIdStringOf } from '../node/protocol/keys.ts';
import type { PeerIdString, Records } from '../node/protocol/ports.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';

/** Confirmed verdicts that are worth a standing of one half. Our own: as many as a peer's probation has groups by default. */
export const CONFIRMED_TO_HALF = 8;
/** Each contradiction makes it this many times as many: an accepter of everything is right as long as nobody lies. Our own. */
const SLOWER_EACH = 4;
/** Beyond this nothing is earned back in a run's time. */
const MAX_SLOWER = 10;

/** Verifiers that are remembered. Our own. */
export const MAX_KEPT = 4_096;

export interface VerifierStanding {
  readonly verifier: PeerIdString;
  /** verdicts that our own check of the same group agreed with */
  readonly confirmed: number;
  /** verdicts that our own check showed to be false */
  readonly contradicted: number;
  /** 0 … 1: c / (c + CONFIRMED_TO_HALF · 4^n), c = confirmed since the last of n contradictions */
  readonly standing: number;
  /** last policy step at which its verdicts do not count, null when it was never silenced */
  readonly silencedUntilStep: number | null;
  /** hex id of the group of the last contradiction */
  readonly lastContradiction: string | null;
}

export interface Contradiction {
  readonly groupIdHex: string;
  readonly policyStep: number;
  readonly silences: boolean;
}

export interface VerifierStandings {
  /** reads what earlier runs wrote */
  open(): Promise<void>;
  confirm(verifier: PeerIdString): Promise<void>;
  /** @param how `policyStep`: the newest; `silences`: a rejection that did not repeat */
  contradict(verifier: PeerIdString, how: Contradiction): Promise<void>;
  /** takes standing without a count: what it said could not be explained, and is not shown to be false */
  restart(verifier: PeerIdString): Promise<void>;
  isSilenced(verifier: PeerIdString, policyStep: number): boolean;
  /** whether the recipe names it */
  isNamed(verifier: PeerIdString): boolean;
  /** neither named nor ever confirmed: its key may be one of a crowd */
  isStranger(verifier: PeerIdString): boolean;
  of(verifier: PeerIdString): VerifierStanding;
  all(): readonly VerifierStanding[];
  /** lets go of verifiers that were never confirmed and whose last contradiction is long past */
  forgetBefore(policyStep: number): Promise<void>;
}

/** What is on disk for a verifier. */
interface State {
  readonly confirmed: number;
  readonly contradicted: number;
  readonly confirmedSince: number;
  readonly silencedUntilStep: number | null;
  readonly lastContradiction: string | null;
  readonly contradictedAtStep: number;
}

const NEW: State = {
  confirmed: 0,
  contradicted: 0,
  confirmedSince: 0,
  silencedUntilStep: null,
  lastContradiction: null,
  contradictedAtStep: -1,
};

/** @param recipe the same verifier has a standing in each */
export function createVerifierStandings(
  components: { readonly records: Records },
  { recipeIdHex, recipe }: Pick<ResolvedRecipe, 'recipeIdHex' | 'recipe'>,
): VerifierStandings {
  const silenceSteps = recipe.verification.quarantineSteps;
  const keys = [...recipe.verification.verifiers, ...recipe.trainers];
  const named = new Set<PeerIdString>(keys.map((key) => peerIdStringOf(peerIdOfPublicKey(fromHex(key)))));
  const { records } = components;
  const prefix = `verifier/${recipeIdHex}/verifiers/`;
  const states = new Map<PeerIdString, State>();
  const stateOf = (verifier: PeerIdString): State => states.get(verifier) ?? NEW;
  const forget = (verifier: PeerIdString): Promise<void> => {
    states.delete(verifier);
    return records.delete(prefix + verifier);
  };
  /** Whoever was confirmed least, the oldest of several; a crowd of new keys takes places from each other only. */
  const leastConfirmed = (): PeerIdString | null => {
    let least: PeerIdString | null = null;
    for (const [verifier, { confirmed }] of states) {
      if (!named.has(verifier) && (least === null || confirmed < stateOf(least).confirmed)) least = verifier;
    }
    return least;
  };
  const save = async (verifier: PeerIdString, change: Partial<State>): Promise<void> => {
    const state = { ...stateOf(verifier), ...change };
    const leaves = states.has(verifier) || states.size < MAX_KEPT ? null : leastConfirmed();
    states.set(verifier, state);
    if (leaves !== null) await forget(leaves);
    await records.put(prefix + verifier, utf8(JSON.stringify(state)));
  };
  const describe = (verifier: PeerIdString): VerifierStanding => {
    const { confirmedSince, contradictedAtStep: _, ...shown } = stateOf(verifier);
    const half = CONFIRMED_TO_HALF * SLOWER_EACH ** Math.min(shown.contradicted, MAX_SLOWER);
    return { verifier, ...shown, standing: confirmedSince / (confirmedSince + half) };
  };

  return {
    async open() {
      for await (const [key, value] of records.entries({ gte: prefix, lt: `${prefix}\uffff` })) {
        states.set(key.slice(prefix.length), { ...NEW, ...(JSON.parse(fromUtf8(value)) as Partial<State>) });
      }
    },
    confirm(verifier) {
      const { confirmed, confirmedSince } = stateOf(verifier);
      return save(verifier, { confirmed: confirmed + 1, confirmedSince: confirmedSince + 1 });
    },
    contradict(verifier, { groupIdHex, policyStep, silences }) {
      const { contradicted, silencedUntilStep } = stateOf(verifier);
      return save(verifier, {
        contradicted: contradicted + 1,
        confirmedSince: 0,
        lastContradiction: groupIdHex,
        contradictedAtStep: policyStep,
        silencedUntilStep: silences ? policyStep + silenceSteps : silencedUntilStep,
      });
    },
    async restart(verifier) {
      if (states.has(verifier)) await save(verifier, { confirmedSince: 0 });
    },
    isSilenced: (verifier, policyStep) => policyStep <= (stateOf(verifier).silencedUntilStep ?? -1),
    isNamed: (verifier) => named.has(verifier),
    isStranger: (verifier) => !named.has(verifier) && stateOf(verifier).confirmed === 0,
    of: describe,
    all: () => [...states.keys()].map(describe),
    async forgetBefore(policyStep) {
      for (const [verifier, { confirmed, contradictedAtStep }] of [...states]) {
        if (confirmed > 0 || contradictedAtStep + silenceSteps >= policyStep) continue;
        await forget(verifier);
      }
    },
  };
}
