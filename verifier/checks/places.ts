// Room that a policy step has for messages of a kind, so that a crowd of keys cannot make anybody remember ever more.
// Keys cost nothing, so a step has a number of places, and as many again for known peers: whoever stores, checks or trains
// sees nothing but what took a place here. A key may take one while it holds fewer than are free: one key takes half, n keys
// n/(n + 1) of them, so that a few that take all they can leave some to those who come later. A crowd of strangers leaves none to strangers.
// Invariants: no more of a step than it has places; strangers take none from known peers.

import { ACCEPT, type CheckAnswer, ignore } from '../../node/protocol/check.ts';
import type { Recipe } from '../../recipes/schema.ts';

/**
 * Places of one policy step, of strangers and again of known peers. Our own: twice what waits at most (giving-up.ts); a group of
 * a new key costs 4 kB of memory in a verifier and 2.5 kB in a trainer (measured, without bodies).
 */
export const MIN_PLACES = 8_192;
/** Per useful group of a step: more than a trainer ever asks for in the long run, one in ten of its groups being useful. */
const PLACES_PER_PROMPT = 16;

/** Places of a recipe's steps. */
export function placesOf({ grpo }: Pick<Recipe, 'grpo'>): number {
  return Math.max(MIN_PLACES, PLACES_PER_PROMPT * grpo.promptsPerStep);
}

/** Who wants a place of which step. */
export interface PlaceClaim {
  readonly peer: string;
  readonly policyStep: number;
  /** it was found good before, or is named: no crowd of new keys takes its place */
  readonly isKnown: boolean;
}

export interface Places {
  /** [IGNORE] There is a place left for it (RATE_LIMITED); asking changes nothing. */
  ask(claim: PlaceClaim): CheckAnswer;
  take(claim: PlaceClaim): void;
  /** forgets steps before this one */
  forgetBefore(policyStep: number): void;
}

interface Taken {
  total: number;
  readonly byPeer: Map<string, number>;
}

/** Places of one recipe's steps, all free at first. @param count of a step */
export function createPlaces(count: number = MIN_PLACES): Places {
  const known = new Map<number, Taken>();
  const strangers = new Map<number, Taken>();
  const kindOf = ({ isKnown }: PlaceClaim): Map<number, Taken> => (isKnown ? known : strangers);
  return {
    ask(claim) {
      const taken = kindOf(claim).get(claim.policyStep);
      const measured = taken?.byPeer.get(claim.peer) ?? 0;
      const limit = count - (taken?.total ?? 0);
      return measured < limit ? ACCEPT : ignore('RATE_LIMITED', { measured, limit });
    },
    take(claim) {
      const steps = kindOf(claim);
      const taken = steps.get(claim.policyStep) ?? { total: 0, byPeer: new Map<string, number>() };
      steps.set(claim.policyStep, taken);
      taken.total++;
      taken.byPeer.set(claim.peer, (taken.byPeer.get(claim.peer) ?? 0) + 1);
    },
    forgetBefore(policyStep) {
      for (const steps of [known, strangers])
        for (const step of steps.keys()) if (step < policyStep) steps.delete(step);
    },
  };
}
