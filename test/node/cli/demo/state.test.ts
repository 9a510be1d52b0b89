// What the demo makes of its processes' events: when the swarm has learned, whom the rejections hit, the summary.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  applyEvent,
  createDemoState,
  type DemoState,
  hasLearned,
  LIAR,
  summarize,
  swarmTokensPerSecond,
} from '../../../../node/cli/demo/state.ts';
import { evaluation, listening, quarantined, rejected, rollouts, sample, step } from './support.ts';

function learnedAfter(...accuracies: readonly number[]): boolean {
  const state = createDemoState(0);
  for (const [i, accuracy] of accuracies.entries()) applyEvent(state, 'trainer', evaluation(5 * i, accuracy));
  return hasLearned(state);
}

test('it has learned after two evaluations in a row at 0.93, or 0.38 above the first when that is more', () => {
  assert.equal(learnedAfter(), false);
  assert.equal(learnedAfter(0.5), false);
  assert.equal(learnedAfter(0.5, 0.95), false);
  assert.equal(learnedAfter(0.5, 0.95, 0.92), false);
  assert.equal(learnedAfter(0.5, 0.93, 0.93), true);
  assert.equal(learnedAfter(0.5, 0.8, 0.95, 0.9, 0.95, 0.96), true);
  // 0.58 + 0.38 = 0.96
  assert.equal(learnedAfter(0.58, 0.95, 0.95), false);
  assert.equal(learnedAfter(0.58, 0.961, 0.97), true);
  // The first evaluation is the measure, never one of the two.
  assert.equal(learnedAfter(0.95, 0.95), false);
});

function swarm(): DemoState {
  const state = createDemoState(1_000);
  applyEvent(state, 'trainer', listening('peer-trainer'));
  applyEvent(state, 'node-1', listening('peer-1'));
  applyEvent(state, LIAR, listening('peer-liar'));
  return state;
}

test('the liar is no part of the swarm: not in its speed, not in its samples', () => {
  const state = swarm();
  applyEvent(state, 'node-1', rollouts(3, 1_000));
  applyEvent(state, 'node-1', rollouts(4, 1_500));
  applyEvent(state, LIAR, rollouts(4, 9_000));
  assert.equal(swarmTokensPerSecond(state), 1_500);
  applyEvent(state, LIAR, sample('lie'));
  applyEvent(state, 'node-1', sample('truth'));
  assert.deepEqual(
    state.samples.map((s) => s.completion),
    ['truth'],
  );
  for (let i = 0; i < 200; i++) applyEvent(state, 'node-1', sample(`s${i}`));
  assert.deepEqual([state.samples.length, state.samples.at(-1)?.completion], [50, 's199']);
});

test('the summary tells the liar from honest peers, and takes the final counts of the ledger', () => {
  const state = swarm();
  applyEvent(state, 'trainer', evaluation(0, 0.5, 5));
  applyEvent(state, 'trainer', step(1, { tokens: 3_000 }));
  applyEvent(state, 'trainer', step(2, { tokens: 5_000 }));
  applyEvent(state, 'trainer', evaluation(2, 0.75, 11));
  applyEvent(state, 'verifier', rejected('peer-liar', 'ACTIVATION_MISMATCH'));
  applyEvent(state, 'verifier', rejected('peer-liar', 'ACTIVATION_MISMATCH'));
  applyEvent(state, 'verifier', rejected('peer-liar', 'LOGPROB_MISMATCH'));
  applyEvent(state, 'verifier', rejected('peer-1', 'LOGPROB_MISMATCH'));
  applyEvent(state, 'verifier', quarantined('peer-liar', 6));
  const running = summarize(state, 7, 5_000);
  assert.deepEqual(running, {
    seconds: 4,
    seed: 7,
    steps: 2,
    heldOut: { before: 0.5, after: 0.75, tasks: 512, goal: 0.93 },
    completionTokens: { before: 5, after: 11 },
    groups: state.steps[1]!.counts,
    honestRejected: 1,
    liar: { quarantined: true, afterGroups: 6, codes: ['ACTIVATION_MISMATCH', 'LOGPROB_MISMATCH'] },
    tokensPerSecond: 2_000,
  });
  const counts = {
    announced: 9,
    trained: 5,
    rejected: 3,
    stale: 1,
    dropped: 0,
    pending: 0,
    reasons: {},
    ignored: { STALE: 2 },
  };
  applyEvent(state, 'trainer', { event: 'summary', counts });
  assert.deepEqual(summarize(state, 7, 5_000).groups, counts);
});

test('a quarantine of somebody else is not the liar caught; nothing at all is still a summary', () => {
  const state = swarm();
  applyEvent(state, 'verifier', quarantined('peer-1', 3));
  const summary = summarize(state, 1, 2_000);
  assert.deepEqual(summary.liar, { quarantined: false, afterGroups: null, codes: [] });
  assert.deepEqual([summary.steps, summary.heldOut.before, summary.groups.announced], [0, 0, 0]);
});
