// How many groups a trainer asks for, so that nodes do not make what will be too old. Source: spec/wire.md
// "Enough, not too much": wantGroups = ceil((maxLag + 1)·B / useful share) − waiting.
// Who counts as a peer and what as waiting is up to the pool: announcing costs nothing.

import { type Admission, shareOf } from '../node/protocol/manifest.ts';

export interface AdmissionState {
  readonly maxLagSteps: number;
  /** useful groups that make a step */
  readonly promptsPerStep: number;
  /** share of judged groups that carry something to learn, (0, 1] */
  readonly usefulShare: number;
  /** groups that may be counted on, of each peer at most so many that nobody has found good yet */
  readonly waiting: (mostEach: number) => number;
  readonly activePeers: number;
}

/** Until a peer is known one batch is asked for: each of those who come would take the whole of it. */
export function admissionOf(state: AdmissionState): Admission {
  if (state.activePeers === 0)
    return { wantGroups: Math.ceil(state.promptsPerStep / state.usefulShare), activePeers: 0 };
  const wanted = Math.ceil(((state.maxLagSteps + 1) * state.promptsPerStep) / state.usefulShare);
  // What one peer only announces takes no more than its own share away from what the others are asked for.
  const waiting = state.waiting(shareOf({ wantGroups: wanted, activePeers: state.activePeers }));
  return { wantGroups: Math.max(0, wanted - waiting), activePeers: state.activePeers };
}

/** Groups looked back on. */
const WINDOW = 256;
/** Below this the estimate says more about chance than about the task. */
const MIN_SHARE = 0.1;

/** The useful share over the last groups; 1 counts as seen once, so that a run begins with it. */
export interface UsefulShare {
  add(isUseful: boolean): void;
  value(): number;
}

/** A share of 1, until groups were judged. */
export function createUsefulShare(): UsefulShare {
  const window: boolean[] = [];
  return {
    add(isUseful) {
      window.push(isUseful);
      if (window.length > WINDOW) window.shift();
    },
    value: () => Math.max(MIN_SHARE, (window.filter((each) => each).length + 1) / (window.length + 1)),
  };
}
