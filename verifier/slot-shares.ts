// Which share of the slots that others fill at a policy step each peer leaves out: what stopping after an unlucky group costs it.
// Source: spec/rollouts.md "Randomness" (what remains open … is kept and shown). A slow machine leaves slots out as well, and so
// does one that works on a step longer than the trainer does: this is a figure to look at, nothing is decided by it.
//
// A peer fills highest slot + 1 slots of a step: slots have no gaps, and only those count whose bodies passed stage 1. At a
// step others fill the median of what established peers filled there; newcomers do not enter, or a crowd of keys could move it.
// From the peer's first to its last step in the window, steps in between that it left out whole included:
//     share left out = 1 − Σ min(filled, median) / Σ median
// Invariant: memory is bounded by the window and the peers that were active in it.

/** Policy steps that are looked at. Our own. */
export const SLOT_WINDOW_STEPS = 32;

export interface SlotShares {
  /** the body of a slot passed stage 1 */
  note(peer: string, policyStep: number, slot: number): void;
  /** 0 … 1 by peer; none for peers at whose steps there was nobody to compare with */
  leftOut(isEstablished: (peer: string) => boolean): ReadonlyMap<string, number>;
}

/** No slots at first. */
export function createSlotShares(): SlotShares {
  /** step → peer → slots filled */
  const steps = new Map<number, Map<string, number>>();
  let newest = 0;

  return {
    note(peer, policyStep, slot) {
      if (policyStep <= newest - SLOT_WINDOW_STEPS) return;
      newest = Math.max(newest, policyStep);
      const filled = steps.get(policyStep) ?? new Map<string, number>();
      steps.set(policyStep, filled);
      filled.set(peer, Math.max(filled.get(peer) ?? 0, slot + 1));
      for (const step of steps.keys()) if (step <= newest - SLOT_WINDOW_STEPS) steps.delete(step);
    },
    leftOut(isEstablished) {
      const spans = new Map<string, { first: number; last: number; filled: number; possible: number }>();
      for (const [step, filled] of steps) {
        for (const peer of filled.keys()) {
          const span = spans.get(peer) ?? { first: step, last: step, filled: 0, possible: 0 };
          spans.set(peer, { ...span, first: Math.min(span.first, step), last: Math.max(span.last, step) });
        }
      }
      const established = new Set([...spans.keys()].filter(isEstablished));
      for (const [step, filled] of steps) {
        const theirs = [...filled].filter(([peer]) => established.has(peer)).map(([, slots]) => slots);
        theirs.sort((a, b) => a - b);
        for (const [peer, span] of spans) {
          if (step < span.first || step > span.last) continue;
          const own = filled.get(peer);
          const typical = median(theirs, own !== undefined && established.has(peer) ? own : null);
          if (typical === null) continue;
          span.filled += Math.min(own ?? 0, typical);
          span.possible += typical;
        }
      }
      const compared = [...spans].filter(([, { possible }]) => possible > 0);
      return new Map(compared.map(([peer, { filled, possible }]) => [peer, 1 - filled / possible]));
    },
  };
}

/** Of sorted values, one of them left out; null when nothing is left. */
function median(sorted: readonly number[], without: number | null): number | null {
  const gap = without === null ? sorted.length : sorted.indexOf(without);
  const count = without === null ? sorted.length : sorted.length - 1;
  if (count === 0) return null;
  const at = (index: number): number => sorted[index < gap ? index : index + 1]!;
  const middle = count >> 1;
  return count % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
}
