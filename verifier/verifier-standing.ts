// What each other verifier has earned with this one: verdicts of its that our own checks confirmed or contradicted, and silence.
// Source: design.md "Who trusts what" (a rejection that does not repeat silences its verifier for 14 steps; acceptances count
// from verifiers whose verdicts one's own checks confirmed often enough).
// Decay: what was confirmed halves every TRUST_HALF_LIFE_STEPS policy steps since the last confirmation, as a peer's trust does.
// Invariants: one contradiction takes all standing at once, and makes it the slower to earn again; a change is on disk when its
// promise resolves; however many keys speak, MAX_KEPT of them are remembered beside those that the recipe names.

import { fromHex, fromUtf8, utf8 } from '../node/protocol/bytes.ts';
import { peerIdOfPublicKey, peerIdStringOf } from '../node/protocol/keys.ts';
import type { PeerIdString, Records } from '../node/protocol/ports.ts';
import type { ResolvedRecipe } from '../recipes/resolve.ts';
import { namedKeys } from './accepted-peers.ts';
import { TRUST_HALF_LIFE_STEPS } from './standing.ts';

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
  /** 0 … 1: c / (c + CONFIRMED_TO_HALF · 4^n), c = confirmed since the last of n contradictions, less what decayed */
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
  /** @param policyStep the newest */
  confirm(verifier: PeerIdString, policyStep: number): Promise<void>;
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
  /** as of then */
  readonly confirmedSince: number;
  readonly confirmedAtStep: number;
  readonly silencedUntilStep: number | null;
  readonly lastContradiction: string | null;
  readonly contradictedAtStep: number;
}

const NEW: State = {
  confirmed: 0,
  contradicted: 0,
  confirmedSince: 0,
  confirmedAtStep: -1,
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
  const named = new Set<PeerIdString>(namedKeys(recipe).map((key) => peerIdStringOf(peerIdOfPublicKey(fromHex(key)))));
  const { records } = components;
  const prefix = `verifier/${recipeIdHex}/verifiers/`;
  const states = new Map<PeerIdString, State>();
  /** the swarm's time, as far as it was told here */
  let newestStep = 0;
  const stateOf = (verifier: PeerIdString): State => states.get(verifier) ?? NEW;
  const confirmedSince = (verifier: PeerIdString): number => {
    const state = stateOf(verifier);
    const idleSteps = Math.max(0, newestStep - state.confirmedAtStep);
    return state.confirmedSince * 2 ** (-idleSteps / TRUST_HALF_LIFE_STEPS);
  };
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
    const { confirmed, contradicted, silencedUntilStep, lastContradiction } = stateOf(verifier);
    const earned = confirmedSince(verifier);
    const half = CONFIRMED_TO_HALF * SLOWER_EACH ** Math.min(contradicted, MAX_SLOWER);
    const standing = earned / (earned + half);
    return { verifier, confirmed, contradicted, standing, silencedUntilStep, lastContradiction };
  };

  return {
    async open() {
      for await (const [key, value] of records.entries({ gte: prefix, lt: `${prefix}\uffff` })) {
        const state = { ...NEW, ...(JSON.parse(fromUtf8(value)) as Partial<State>) };
        states.set(key.slice(prefix.length), state);
        newestStep = Math.max(newestStep, state.confirmedAtStep, state.contradictedAtStep);
      }
    },
    confirm(verifier, policyStep) {
      newestStep = Math.max(newestStep, policyStep);
      const { confirmed } = stateOf(verifier);
      const earned = confirmedSince(verifier) + 1;
      return save(verifier, { confirmed: confirmed + 1, confirmedSince: earned, confirmedAtStep: newestStep });
    },
    contradict(verifier, { groupIdHex, policyStep, silences }) {
      newestStep = Math.max(newestStep, policyStep);
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
      newestStep = Math.max(newestStep, policyStep);
      for (const [verifier, { confirmed, contradictedAtStep }] of [...states]) {
        if (confirmed > 0 || contradictedAtStep + silenceSteps >= policyStep) continue;
        await forget(verifier);
      }
    },
  };
}
