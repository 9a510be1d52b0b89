// What each peer has earned with this verifier: probation, trust, quarantine, and how much of the slack it used.
// Source: spec/rollouts.md "Order of checks" and "Limits have two sides"; "Replay" question 1 (SLACK_ABUSED). Thin: verdicts of others do not enter.
// Invariant: every change is on disk before the next is asked for (`record` resolves after the write).

import { fromUtf8, utf8 } from '../node/protocol/bytes.ts';
import { type CheckCode, NUMERICAL_CODES } from '../node/protocol/check.ts';
import type { Records } from '../node/protocol/ports.ts';
import { atLeast } from './binomial.ts';

/** Checked tokens over which soft misses are counted (spec/rollouts.md). */
export const SLACK_WINDOW_TOKENS = 4096;
/** A honest peer is taken for an abuser this rarely, per window (spec/rollouts.md). */
export const SLACK_SIGNIFICANCE = 1e-6;
/** Honest soft misses per token, as a share of δ: engines that need more than a tenth of δ are not calibrated. Our own. */
export const HONEST_SLACK_SHARE = 0.1;

export interface PeerStanding {
  readonly peer: string;
  /** groups wholly replayed without a fault since probation began */
  readonly probationPassed: number;
  readonly onProbation: boolean;
  /** whether a numerical rejection began this probation */
  readonly secondChance: boolean;
  /** accepted groups since probation ended */
  readonly passedSince: number;
  /** 0 … 1 */
  readonly trust: number;
  /** probability that the next group is replayed whole */
  readonly wholeProbability: number;
  /** last policy step of the quarantine, null when there is none */
  readonly quarantinedUntilStep: number | null;
  readonly acceptedGroups: number;
  readonly rejectedGroups: number;
  readonly lastCode: CheckCode | null;
  readonly checkedTokens: number;
  readonly softMisses: number;
}

/** What happened to one group. */
export interface GroupOutcome {
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
  /** probability that a group of this peer is replayed whole; 1 on probation */
  wholeProbability(peer: string): number;
  /** counts a checked sequence. @returns true when the soft misses are more than honest runs have */
  countSlack(peer: string, tokens: number, softMisses: number): boolean;
  /** @returns true when this put the peer in quarantine */
  record(peer: string, outcome: GroupOutcome): Promise<boolean>;
  /** two unlike groups for one slot: back to probation */
  restartProbation(peer: string, code: CheckCode): Promise<void>;
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
  /** checked sequences of the window, oldest first */
  window: { readonly tokens: number; readonly softMisses: number }[];
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
    window: [],
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
  const stateOf = (peer: string): State => states.get(peer) ?? newState();
  // A second chance takes at least one group, also where newcomers have no probation.
  const onProbation = (state: State): boolean =>
    state.probationPassed < Math.max(probationGroups, state.secondChance ? 1 : 0);
  const save = (peer: string, state: State): Promise<void> => {
    states.set(peer, state);
    return components.records.put(prefix + peer, utf8(JSON.stringify(state)));
  };
  const trustOf = (state: State): number => {
    if (onProbation(state)) return 0;
    // As many more accepted groups as probation had halve the doubt; none to wait for when there is no probation.
    return probationGroups === 0 ? 1 : state.passedSince / (state.passedSince + probationGroups);
  };
  const wholeProbability = (state: State): number => Math.max(pMin, 1 - trustOf(state));

  const describe = (peer: string): PeerStanding => {
    const state = stateOf(peer);
    return {
      peer,
      probationPassed: state.probationPassed,
      onProbation: onProbation(state),
      secondChance: state.secondChance,
      passedSince: state.passedSince,
      trust: trustOf(state),
      wholeProbability: wholeProbability(state),
      quarantinedUntilStep: state.quarantinedUntilStep,
      acceptedGroups: state.acceptedGroups,
      rejectedGroups: state.rejectedGroups,
      lastCode: state.lastCode,
      checkedTokens: sum(state.window, (each) => each.tokens),
      softMisses: sum(state.window, (each) => each.softMisses),
    };
  };

  return {
    async open() {
      for await (const [key, value] of components.records.entries({ gte: prefix, lt: `${prefix}\uffff` })) {
        states.set(key.slice(prefix.length), { ...newState(), ...(JSON.parse(fromUtf8(value)) as Partial<State>) });
      }
    },
    isQuarantined: (peer, policyStep) => {
      const until = states.get(peer)?.quarantinedUntilStep ?? null;
      return until !== null && policyStep <= until;
    },
    isNewcomer: (peer) => onProbation(stateOf(peer)),
    wholeProbability: (peer) => wholeProbability(stateOf(peer)),
    countSlack(peer, tokens, softMisses) {
      const state = stateOf(peer);
      states.set(peer, state);
      state.window.push({ tokens, softMisses });
      let held = sum(state.window, (each) => each.tokens);
      while (state.window.length > 1 && held - state.window[0]!.tokens >= SLACK_WINDOW_TOKENS) {
        held -= state.window.shift()!.tokens;
      }
      const misses = sum(state.window, (each) => each.softMisses);
      return atLeast(misses, held, HONEST_SLACK_SHARE * delta) < SLACK_SIGNIFICANCE;
    },
    async record(peer, outcome) {
      const state = stateOf(peer);
      const quarantined = outcome.answer === 'accept' ? accept(state, outcome) : refuse(state, outcome);
      await save(peer, state);
      return quarantined;
    },
    async restartProbation(peer, code) {
      const state = stateOf(peer);
      Object.assign(state, { probationPassed: 0, passedSince: 0, secondChance: true, lastCode: code, window: [] });
      state.rejectedGroups++;
      await save(peer, state);
    },
    of: describe,
    all: () => [...states.keys()].map(describe),
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
    Object.assign(state, { probationPassed: 0, passedSince: 0, lastCode: outcome.code, window: [] });
    state.secondChance = !quarantines;
    if (quarantines) state.quarantinedUntilStep = outcome.policyStep + quarantineSteps;
    return quarantines;
  }
}

function sum<T>(list: readonly T[], value: (item: T) => number): number {
  return list.reduce((total, item) => total + value(item), 0);
}
