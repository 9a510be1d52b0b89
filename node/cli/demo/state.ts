// What the demo knows of its swarm: the events of all processes folded into one state, and when that state is enough.

import type { GroupCounts, RoleEvent } from '../events.ts';
import { arrowsGoal, type Goal } from './goal.ts';

type EventOf<E extends RoleEvent['event']> = Extract<RoleEvent, { event: E }>;

export interface DemoState extends DemoAim {
  readonly startedMs: number;
  readonly steps: EventOf<'step'>[];
  readonly evaluations: EventOf<'evaluation'>[];
  /** newest figures of each node, by process name */
  readonly nodes: Map<string, EventOf<'rollouts'>>;
  readonly policySteps: Map<string, number>;
  readonly peerNames: Map<string, string>;
  readonly samples: EventOf<'sample'>[];
  readonly rejections: EventOf<'rejected'>[];
  readonly quarantines: EventOf<'quarantined'>[];
  verdicts: EventOf<'verdicts'> | null;
  finalCounts: GroupCounts | null;
}

/** What a demo is after. */
export interface DemoAim {
  readonly goal: Goal;
  /** whether one of the nodes lies */
  readonly hasLiar: boolean;
}

const KEPT_SAMPLES = 50;

export function createDemoState(nowMs: number, aim: DemoAim = { goal: arrowsGoal, hasLiar: true }): DemoState {
  return {
    ...aim,
    startedMs: nowMs,
    steps: [],
    evaluations: [],
    nodes: new Map(),
    policySteps: new Map(),
    peerNames: new Map(),
    samples: [],
    rejections: [],
    quarantines: [],
    verdicts: null,
    finalCounts: null,
  };
}

/** Folds one event of the process `name` into the state. */
export function applyEvent(state: DemoState, name: string, event: RoleEvent): void {
  switch (event.event) {
    case 'listening':
      state.peerNames.set(event.peerId, name);
      break;
    case 'step':
      state.steps.push(event);
      break;
    case 'evaluation':
      state.evaluations.push(event);
      break;
    case 'rollouts':
      state.nodes.set(name, event);
      break;
    case 'policy':
      state.policySteps.set(name, event.policyStep);
      break;
    case 'sample':
      // What the liar shows is no sample of the swarm's policy.
      if (name !== LIAR) state.samples.push(event);
      if (state.samples.length > KEPT_SAMPLES) state.samples.shift();
      break;
    case 'verdicts':
      state.verdicts = event;
      break;
    case 'rejected':
      state.rejections.push(event);
      break;
    case 'quarantined':
      state.quarantines.push(event);
      break;
    case 'summary':
      state.finalCounts = event.counts;
      break;
    case 'notice':
    case 'recipe':
    case 'stopped':
      break;
  }
}

export const LIAR = 'liar';

/** The accuracy that is enough; null before the first evaluation. */
export function goalOf(state: DemoState): number | null {
  const before = state.evaluations[0];
  return before === undefined ? null : state.goal(before.accuracy);
}

/** Whether the swarm has learned what it is to learn: two evaluations in a row, the first not among them, at the goal. */
export function hasLearned(state: DemoState): boolean {
  const enough = goalOf(state);
  if (enough === null || state.evaluations.length < 3) return false;
  return state.evaluations.slice(-2).every((e) => e.accuracy >= enough);
}

/** What to do about a swarm that cannot learn; null for one that may. */
export function hopeless(state: DemoState): string | null {
  if (state.evaluations[0]?.accuracy !== 0 || state.steps.length > 0) return null;
  return 'The model gets none of these tasks right. Where all rewards are alike there is nothing to learn from: name a model that succeeds now and then (--model; `murmur warm-up` makes one).';
}

/** Tokens that the honest nodes make a second, all together. */
export function swarmTokensPerSecond(state: DemoState): number {
  let sum = 0;
  for (const [name, node] of state.nodes) if (name !== LIAR) sum += node.tokensPerSecond;
  return sum;
}

/** The machine-readable result (`--json-file`). */
export interface DemoSummary {
  readonly seconds: number;
  readonly seed: number;
  readonly steps: number;
  readonly heldOut: {
    readonly before: number;
    readonly after: number;
    readonly tasks: number;
    /** the accuracy that was enough */
    readonly goal: number;
  };
  readonly completionTokens: { readonly before: number; readonly after: number };
  readonly groups: GroupCounts;
  readonly honestRejected: number;
  /** null: there was none */
  readonly liar: {
    readonly quarantined: boolean;
    readonly afterGroups: number | null;
    readonly codes: readonly string[];
  } | null;
  readonly tokensPerSecond: number;
}

const NO_COUNTS: GroupCounts = {
  announced: 0,
  trained: 0,
  rejected: 0,
  stale: 0,
  dropped: 0,
  pending: 0,
  reasons: {},
  ignored: {},
};

export function summarize(state: DemoState, seed: number, nowMs: number): DemoSummary {
  const before = state.evaluations[0];
  const after = state.evaluations.at(-1);
  const ofLiar = state.rejections.filter((r) => state.peerNames.get(r.peerId) === LIAR);
  const caught = state.quarantines.find((q) => state.peerNames.get(q.peerId) === LIAR);
  const seconds = (nowMs - state.startedMs) / 1000;
  const trainedTokens = state.steps.reduce((sum, s) => sum + s.tokens, 0);
  return {
    seconds,
    seed,
    steps: state.steps.at(-1)?.policyStep ?? 0,
    heldOut: {
      before: before?.accuracy ?? 0,
      after: after?.accuracy ?? 0,
      tasks: after?.tasks ?? 0,
      goal: goalOf(state) ?? 0,
    },
    completionTokens: { before: before?.completionTokensMean ?? 0, after: after?.completionTokensMean ?? 0 },
    groups: state.finalCounts ?? state.steps.at(-1)?.counts ?? NO_COUNTS,
    honestRejected: state.rejections.length - ofLiar.length,
    liar: state.hasLiar
      ? {
          quarantined: caught !== undefined,
          afterGroups: caught?.judgedOfPeer ?? null,
          codes: [...new Set(ofLiar.map((r) => r.code))],
        }
      : null,
    tokensPerSecond: trainedTokens / seconds,
  };
}
