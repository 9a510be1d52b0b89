// Peers left out by what verifiers rejected: for how long, and that keys without end are not remembered for ever.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createQuarantine, SECOND_CHANCE_STEPS } from '../../trainer/quarantine.ts';

const settings = { probationGroups: 2, quarantineSteps: 14 };

test('an exact rejection quarantines at once, a numerical one the second time during probation', () => {
  const quarantine = createQuarantine(settings);
  quarantine.rejected('exact', 'REWARD_MISMATCH', 5);
  for (const peer of ['passed', 'again']) quarantine.rejected(peer, 'LOGPROB_DRIFT', 5);
  for (let i = 0; i < 2; i++) quarantine.accepted('passed');
  for (const peer of ['passed', 'again']) quarantine.rejected(peer, 'LOGPROB_DRIFT', 6);
  const holds = (step: number): boolean[] => ['exact', 'passed', 'again'].map((peer) => quarantine.holds(peer, step));
  assert.deepEqual(
    [holds(19), holds(20), holds(21)],
    [
      [true, false, true],
      [false, false, true],
      [false, false, false],
    ],
  );
});

test('a quarantine is kept until it is over, and then its key is as good as a new one', () => {
  const quarantine = createQuarantine(settings);
  quarantine.rejected('liar', 'REWARD_MISMATCH', 5);
  quarantine.forget(19);
  assert.equal(quarantine.holds('liar', 19), true);
  quarantine.forget(20);
  assert.equal(quarantine.holds('liar', 19), false, 'forgotten');
  quarantine.rejected('liar', 'LOGPROB_DRIFT', 30);
  assert.equal(quarantine.holds('liar', 30), false, 'its first');
});

test('a second chance ends when nothing was rejected for long', () => {
  for (const [away, isQuarantined] of [
    [SECOND_CHANCE_STEPS - 1, true],
    [SECOND_CHANCE_STEPS, false],
  ] as const) {
    const quarantine = createQuarantine(settings);
    quarantine.rejected('away', 'LOGPROB_DRIFT', 5);
    quarantine.forget(5 + away);
    quarantine.rejected('away', 'LOGPROB_DRIFT', 5 + away);
    assert.equal(quarantine.holds('away', 5 + away), isQuarantined);
  }
});
