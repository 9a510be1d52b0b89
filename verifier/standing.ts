// What each peer has earned with this verifier: probation, trust, quarantine, and how much of the slack it used.
// Source: spec/rollouts.md "Order of checks" and "Limits have two sides"; "Replay" question 1 (SLACK_ABUSED). Verdicts of others
// do not enter: those are verifier-standing.ts's.
// Invariant: every change is on disk before the next is asked for (`record` resolves after the write).
//
// Probability of a whole replay. P = probationGroups. On probation 1; after n accepted groups since
//     w(n) = max(pMin, 1 − trust) = max(pMin, P / (n + P)),   trust = n / (n + P)
// so that as many more accepted groups as probation had halve the doubt.
//
// Decay. While a peer is away, n halves every TRUST_HALF_LIFE_STEPS policy steps: its key may be somebody else's by now. When less
// than one group is left of n, and it was away for at least one half-life, probation begins anew.
//
// How many false groups pass before a liar is caught. He lies in each group with a chance of q. A false group is caught with a
// chance of c when replayed whole and of s by one secret sequence of it (s = c when all its sequences are false, c/G when one is),
// so at its n-th turn with d(n) = w(n)·c + (1 − w(n))·s, where w = 1 for the first P groups. A turn ends in a catch with a chance
// of q·d(n), and in a false group that passes with q·(1 − d(n)); hence, until he is first caught,
//     N(q) = Σ_n q · (1 − d(n)) · Π_{i<n} (1 − q · d(i))
// He is caught some time, so Σ_n q·d(n)·Π_{i<n}(1 − q·d(i)) = 1, and with d = pMin·c + (1 − pMin)·s, the least of all d(n),
//     N(q) ≤ (1 − d) / d   for every q: a sleeper, who lies only once w = pMin, gets just that and nobody gets more
// (pMin 0.1, c = 1: nothing, if all his sequences lie; 5.4 groups, if one of 16 does). To fall to pMin takes P/pMin − P accepted
// groups after probation, P/pMin in all. An exact check then quarantines him, and a new key costs as much again: of what a sleeper
// sends at most a share of (1 − d)/d ÷ (P/pMin + (1 − d)/d) is false and passes (P 8: 6 %). Of that, what is not yet consumed when he
// is caught is dropped as well. A numerical check leaves him the key, on probation: the same, but that the first catch costs P/pMin
// more honest groups instead of a key.

import { fromUtf8, utf8 } from '../node/protocol/bytes.ts';
import { type CheckCode, NUMERICAL_CODES } from '../node/protocol/check.ts';
import type { Records } from '../node/protocol/ports.ts';
import { atLeast } from './binomial.ts';
import { createSlotShares } from './slot-shares.ts';

/** Checked tokens over which soft misses are counted (spec/rollouts.md). */
export const SLACK_WINDOW_TOKENS = 4096;
/** An honest peer is taken for an abuser this rarely, per window (spec/rollouts.md). */
export const SLACK_SIGNIFICANCE = 1e-6;
/** Honest soft misses per token, as a share of δ: engines that need more than a tenth of δ are not calibrated. Our own. */
export const HONEST_SLACK_SHARE = 0.1;

/** Away for so many policy steps, a peer keeps half of what it earned. Our own: hours of a small swarm. */
export const TRUST_HALF_LIFE_STEPS = 100;

/** Peers that are remembered though they have earned nothing: rejected, most of them. Our own. */
export const MAX_WITHOUT_MERIT = 16_384;

/** Rejected groups whose ids a state keeps: more than one peer has between a verdict and its standing. Our own. */
const REJECTED_KEPT = 16;

export interface PeerStanding {
  readonly peer: string;
  /** groups wholly replayed without a fault since probation began */
  readonly probationPassed: number;
  readonly onProbation: boolean;
  /** whether a numerical rejection began this probation */
  readonly secondChance: boolean;
  /** groups that probation takes */
  readonly probationGroups: number;
  /** accepted groups since probation ended, as far as they still count */
  readonly passedSince: number;
  /** 0 … 1 */
  readonly trust: number;
  /** probability that the next group is replayed whole */
  readonly wholeProbability: number;
  /** last policy step of the quarantine, null when there is none (any more) */
  readonly quarantinedUntilStep: number | null;
  readonly acceptedGroups: number;
  readonly rejectedGroups: number;
  readonly lastCode: CheckCode | null;
  /** groups of which every sequence was replayed */
  readonly wholeGroups: number;
  /** completion tokens replayed */
  readonly checkedTokens: number;
  /** tokens over which soft misses are counted, and those of them that passed only through the widening */
  readonly slackTokens: number;
  readonly softMisses: number;
  /** share of the slots that others fill which this peer leaves out (slot-shares.ts); null while there is nobody to compare with */
  readonly slotsLeftOut: number | null;
  /** policy step of its last accepted or rejected group */
  readonly lastStep: number;
}

/** What happened to one group. */
export interface GroupOutcome {
  /** hex; of a rejection: that it was counted is kept */
  readonly groupIdHex?: string;
  readonly policyStep: number;
  readonly answer: 'accept' | 'reject';
  readonly code: CheckCode | null;
  /** whether every sequence was replayed */
  readonly whole: boolean;
}

export interface Standing {
  /** reads what earlier runs wrote */
  open(): Promise<void>;
  isQuarantined(peer: string, policyStep: number): boolean;
  isNewcomer(peer: string): boolean;
  /** past probation by groups that were accepted: where a recipe has no probation, by one */
  isKnown(peer: string): boolean;
  /** on probation because of a rejection */
  wasCaught(peer: string): boolean;
  /** probability that a group of this peer is replayed whole; 1 on probation */
  wholeProbability(peer: string): number;
  /** counts a checked sequence. @returns true when the soft misses are more than honest runs have */
  countSlack(peer: string, tokens: number, softMisses: number): boolean;
  /** @returns true when this put the peer in quarantine */
  record(peer: string, outcome: GroupOutcome): Promise<boolean>;
  /** two unlike groups for one slot: back to probation */
  restartProbation(peer: string, code: CheckCode, groupIdsHex?: readonly string[]): Promise<void>;
  /** whether the rejection of a group is among what this peer bears, as far as it is remembered */
  isCounted(peer: string, groupIdHex: string): boolean;
  /** the body of a slot passed stage 1; kept in memory only */
  noteSlot(peer: string, policyStep: number, slot: number): void;
  /**
   * Lets go of peers of whom nothing is left to remember, and beyond MAX_WITHOUT_MERIT of those who have earned nothing, quarantined
   * or not, the oldest first: a new key is worth as much.
   */
  forgetIdle(): Promise<void>;
  /** how many groups of a peer were judged, and the last policy step of its quarantine; unlike `of`, compares it to nobody */
  judged(peer: string): { readonly groups: number } & Pick<PeerStanding, 'quarantinedUntilStep'>;
  of(peer: string): PeerStanding;
  all(): readonly PeerStanding[];
}

export interface StandingSettings {
  readonly probationGroups: number;
  readonly pMin: number;
  readonly quarantineSteps: number;
  readonly delta: number;
}

/** What is on disk for a peer. */
interface State {
  probationPassed: number;
  secondChance: boolean;
  passedSince: number;
  quarantinedUntilStep: number | null;
  acceptedGroups: number;
  rejectedGroups: number;
  lastCode: CheckCode | null;
  lastStep: number;
  wholeGroups: number;
  checkedTokens: number;
  /** checked sequences of the window, oldest first */
  window: { readonly tokens: number; readonly softMisses: number }[];
  /** ids of its last rejected groups; null: some were written down before ids were kept, so all count as known */
  rejected: readonly string[] | null;
}

function newState(): State {
  return {
    probationPassed: 0,
    secondChance: false,
    passedSince: 0,
    quarantinedUntilStep: null,
    acceptedGroups: 0,
    rejectedGroups: 0,
    lastCode: null,
    lastStep: 0,
    wholeGroups: 0,
    checkedTokens: 0,
    window: [],
    rejected: [],
  };
}

/**
 * @param components where states are kept
 * @param init `scope`: the recipe's id in hex; the same peer has a standing in each recipe
 */
export function createStanding(
  components: { readonly records: Records },
  init: { readonly scope: string; readonly settings: StandingSettings },
): Standing {
  const { probationGroups, pMin, quarantineSteps, delta } = init.settings;
  const prefix = `verifier/${init.scope}/standing/`;
  const states = new Map<string, State>();
  const shares = createSlotShares();
  /** the swarm's time, as far as groups were judged */
  let newestStep = 0;
  const idleSteps = (state: State): number => Math.max(0, newestStep - state.lastStep);
  /** A peer's state as of now: what it earned has decayed since it was last written. */
  const stateOf = (peer: string): State => {
    const kept = states.get(peer);
    return kept === undefined ? newState() : decayed(kept, idleSteps(kept));
  };
  // A second chance takes at least one group, also where newcomers have no probation.
  const onProbation = (state: State): boolean =>
    state.probationPassed < Math.max(probationGroups, state.secondChance ? 1 : 0);
  const save = (peer: string, state: State): Promise<void> => {
    states.set(peer, state);
    return components.records.put(prefix + peer, utf8(JSON.stringify(state)));
  };
  const forget = async (those: readonly (readonly [peer: string, state: State])[]): Promise<void> => {
    for (const [peer] of those) {
      states.delete(peer);
      await components.records.delete(prefix + peer);
    }
  };
  const trustOf = (state: State): number => {
    if (onProbation(state)) return 0;
    // None to wait for when there is no probation.
    return probationGroups === 0 ? 1 : state.passedSince / (state.passedSince + probationGroups);
  };
  const wholeProbability = (state: State): number => Math.max(pMin, 1 - trustOf(state));
  const isNewcomer = (peer: string): boolean => onProbation(stateOf(peer));
  const slotsLeftOut = (): ReadonlyMap<string, number> => shares.leftOut((peer) => !isNewcomer(peer));

  const describe = (peer: string, leftOut: ReadonlyMap<string, number>): PeerStanding => {
    const state = stateOf(peer);
    return {
      peer,
      probationPassed: state.probationPassed,
      probationGroups,
      onProbation: onProbation(state),
      secondChance: state.secondChance,
      passedSince: state.passedSince,
      trust: trustOf(state),
      wholeProbability: wholeProbability(state),
      quarantinedUntilStep: (state.quarantinedUntilStep ?? -1) < newestStep ? null : state.quarantinedUntilStep,
      acceptedGroups: state.acceptedGroups,
      rejectedGroups: state.rejectedGroups,
      lastCode: state.lastCode,
      wholeGroups: state.wholeGroups,
      checkedTokens: state.checkedTokens,
      slackTokens: sum(state.window, (each) => each.tokens),
      softMisses: sum(state.window, (each) => each.softMisses),
      slotsLeftOut: leftOut.get(peer) ?? null,
      lastStep: state.lastStep,
    };
  };

  return {
    async open() {
      for await (const [key, value] of components.records.entries({ gte: prefix, lt: `${prefix}\uffff` })) {
        const written = JSON.parse(fromUtf8(value)) as Partial<State>;
        const rejected = written.rejected ?? ((written.rejectedGroups ?? 0) > 0 ? null : []);
        const state = { ...newState(), ...written, rejected };
        states.set(key.slice(prefix.length), state);
        newestStep = Math.max(newestStep, state.lastStep);
      }
    },
    isQuarantined: (peer, policyStep) => {
      const until = states.get(peer)?.quarantinedUntilStep ?? null;
      return until !== null && policyStep <= until;
    },
    isNewcomer,
    isKnown: (peer) => (states.get(peer)?.acceptedGroups ?? 0) > 0 && !isNewcomer(peer),
    wasCaught: (peer) => isNewcomer(peer) && (states.get(peer)?.secondChance ?? false),
    wholeProbability: (peer) => wholeProbability(stateOf(peer)),
    countSlack(peer, tokens, softMisses) {
      const state = states.get(peer) ?? { ...newState(), lastStep: newestStep };
      states.set(peer, state);
      state.checkedTokens += tokens;
      state.window.push({ tokens, softMisses });
      let held = sum(state.window, (each) => each.tokens);
      while (state.window.length > 1 && held - state.window[0]!.tokens >= SLACK_WINDOW_TOKENS) {
        held -= state.window.shift()!.tokens;
      }
      const misses = sum(state.window, (each) => each.softMisses);
      return atLeast(misses, held, HONEST_SLACK_SHARE * delta) < SLACK_SIGNIFICANCE;
    },
    async record(peer, outcome) {
      newestStep = Math.max(newestStep, outcome.policyStep);
      const state = { ...stateOf(peer), lastStep: newestStep };
      if (outcome.whole) state.wholeGroups++;
      const quarantined = outcome.answer === 'accept' ? accept(state, outcome) : refuse(state, outcome);
      await save(peer, state);
      return quarantined;
    },
    isCounted(peer, groupIdHex) {
      const state = states.get(peer);
      return state !== undefined && (state.rejected === null || state.rejected.includes(groupIdHex));
    },
    async restartProbation(peer, code, groupIdsHex = []) {
      const state = { ...stateOf(peer), lastStep: newestStep };
      Object.assign(state, { probationPassed: 0, passedSince: 0, secondChance: true, lastCode: code, window: [] });
      state.rejectedGroups++;
      state.rejected = withRejected(state, groupIdsHex);
      await save(peer, state);
    },
    noteSlot: shares.note,
    async forgetIdle() {
      const isIdle = ([peer, state]: readonly [string, State]): boolean => {
        const isOver = state.quarantinedUntilStep === null || state.quarantinedUntilStep < newestStep;
        return isOver && idleSteps(state) >= TRUST_HALF_LIFE_STEPS && isNewcomer(peer);
      };
      await forget([...states].filter(isIdle));
      const meritless = [...states].filter(([peer, { probationPassed }]) => probationPassed === 0 && isNewcomer(peer));
      await forget(meritless.slice(0, Math.max(0, meritless.length - MAX_WITHOUT_MERIT)));
    },
    judged(peer) {
      const { acceptedGroups, rejectedGroups, quarantinedUntilStep } = describe(peer, new Map());
      return { groups: acceptedGroups + rejectedGroups, quarantinedUntilStep };
    },
    of: (peer) => describe(peer, slotsLeftOut()),
    all() {
      const leftOut = slotsLeftOut();
      return [...states.keys()].map((peer) => describe(peer, leftOut));
    },
  };

  function accept(state: State, outcome: GroupOutcome): false {
    state.acceptedGroups++;
    if (!onProbation(state)) state.passedSince++;
    else if (outcome.whole) {
      state.probationPassed++;
      if (!onProbation(state)) state.secondChance = false;
    }
    return false;
  }

  function refuse(state: State, outcome: GroupOutcome): boolean {
    const isNumerical = outcome.code !== null && NUMERICAL_CODES.has(outcome.code);
    const quarantines = !isNumerical || (state.secondChance && onProbation(state));
    state.rejectedGroups++;
    if (outcome.groupIdHex !== undefined) state.rejected = withRejected(state, [outcome.groupIdHex]);
    Object.assign(state, { probationPassed: 0, passedSince: 0, lastCode: outcome.code, window: [] });
    state.secondChance = !quarantines;
    if (quarantines) state.quarantinedUntilStep = outcome.policyStep + quarantineSteps;
    return quarantines;
  }
}

function withRejected({ rejected }: State, groupIdsHex: readonly string[]): State['rejected'] {
  return rejected === null ? null : [...rejected, ...groupIdsHex].slice(-REJECTED_KEPT);
}

/** What is left of a state after so many policy steps without a judged group. */
function decayed(state: State, idleSteps: number): State {
  if (idleSteps === 0) return state;
  const passedSince = state.passedSince * 2 ** (-idleSteps / TRUST_HALF_LIFE_STEPS);
  const isForgotten = passedSince < 1 && idleSteps >= TRUST_HALF_LIFE_STEPS;
  return isForgotten ? { ...state, passedSince: 0, probationPassed: 0 } : { ...state, passedSince };
}

function sum<T>(list: readonly T[], value: (item: T) => number): number {
  return list.reduce((total, item) => total + value(item), 0);
}
