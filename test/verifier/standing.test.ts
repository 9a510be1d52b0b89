// Standing: probation, trust, quarantine, slack, and that all of it survives a restart.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CheckCode } from '../../node/protocol/check.ts';
import type { Records } from '../../node/protocol/ports.ts';
import { atLeast } from '../../verifier/binomial.ts';
import { createStanding, type GroupOutcome, SLACK_WINDOW_TOKENS, type Standing } from '../../verifier/standing.ts';
import { memoryRecords } from '../support/memory-store.ts';

const SETTINGS = { probationGroups: 3, pMin: 0.1, quarantineSteps: 14, delta: 1e-4 };

function standing(records: Records = memoryRecords(), settings = SETTINGS): Standing {
  return createStanding({ records }, { scope: 'recipe', settings });
}

const passed = (whole = true): GroupOutcome => ({ policyStep: 5, answer: 'accept', code: null, whole });
const failed = (code: CheckCode): GroupOutcome => ({ policyStep: 5, answer: 'reject', code, whole: true });

test('a newcomer is checked whole until probation ends, then less and less, never under pMin', async () => {
  const peers = standing();
  for (let i = 0; i < 3; i++) {
    assert.deepEqual([peers.isNewcomer('a'), peers.wholeProbability('a')], [true, 1]);
    await peers.record('a', passed());
  }
  assert.deepEqual([peers.isNewcomer('a'), peers.wholeProbability('a')], [false, 1]);
  for (let i = 0; i < 3; i++) await peers.record('a', passed(false));
  assert.equal(peers.wholeProbability('a'), 0.5);
  for (let i = 0; i < 100; i++) await peers.record('a', passed(false));
  assert.equal(peers.wholeProbability('a'), SETTINGS.pMin);
  assert.equal(peers.of('a').acceptedGroups, 106);
});

test('a numerical rejection restarts probation, a second during it quarantines', async () => {
  const peers = standing();
  for (let i = 0; i < 5; i++) await peers.record('a', passed());
  assert.equal(await peers.record('a', failed('LOGPROB_DRIFT')), false);
  assert.deepEqual([peers.isNewcomer('a'), peers.of('a').probationPassed], [true, 0]);
  await peers.record('a', passed());
  assert.equal(await peers.record('a', failed('REPLAY_MISMATCH')), true);
  assert.equal(peers.isQuarantined('a', 5 + 14), true);
  assert.equal(peers.isQuarantined('a', 5 + 15), false);
  assert.equal(peers.of('a').lastCode, 'REPLAY_MISMATCH');
});

test('a second chance that is used well is forgotten', async () => {
  const peers = standing();
  await peers.record('a', failed('TOPLOC_MISMATCH'));
  for (let i = 0; i < 3; i++) await peers.record('a', passed());
  assert.equal(await peers.record('a', failed('TOPLOC_MISMATCH')), false);
});

test('a failed exact check quarantines at once', async () => {
  for (const code of ['REWARD_MISMATCH', 'PROMPT_MISMATCH', 'PROOF_COUNT', 'BODY_MALFORMED'] as const) {
    const peers = standing();
    assert.equal(await peers.record('a', failed(code)), true, code);
    assert.equal(peers.isQuarantined('b', 5), false);
  }
});

test('without probation a second chance still takes one good group', async () => {
  const peers = standing(memoryRecords(), { ...SETTINGS, probationGroups: 0 });
  assert.deepEqual([peers.isNewcomer('a'), peers.wholeProbability('a')], [false, SETTINGS.pMin]);
  assert.equal(await peers.record('a', failed('REPLAY_MISMATCH')), false);
  assert.equal(peers.wholeProbability('a'), 1);
  assert.equal(await peers.record('a', failed('REPLAY_MISMATCH')), true);
});

test('standing survives a restart', async () => {
  const records = memoryRecords();
  const before = standing(records);
  await before.record('a', passed());
  await before.record('b', failed('REWARD_MISMATCH'));
  await before.restartProbation('c', 'SLOT_EQUIVOCATION');
  const after = standing(records);
  await after.open();
  assert.deepEqual(after.all().toSorted(byPeer), before.all().toSorted(byPeer));
  assert.equal(after.isQuarantined('b', 6), true);
  assert.equal(after.of('c').secondChance, true);
  const elsewhere = createStanding({ records }, { scope: 'other', settings: SETTINGS });
  await elsewhere.open();
  assert.deepEqual(elsewhere.all(), []);
});

test('soft misses: some are chance, many are steering, old ones leave the window', () => {
  const peers = standing();
  // 1e-5 · 4096 = 0.04 expected: three happen once in 10⁵ windows, four once in 10⁷.
  for (let i = 0; i < 120; i++) assert.equal(peers.countSlack('a', 100, i % 40 === 20 ? 1 : 0), false, `${i}`);
  assert.deepEqual([peers.of('a').softMisses, peers.of('a').checkedTokens], [1, 4100]);
  assert.ok(peers.of('a').checkedTokens >= SLACK_WINDOW_TOKENS);
  assert.equal(peers.countSlack('b', 100, 1), false);
  assert.equal(peers.countSlack('b', 100, 4), true);
});

test('the binomial tail', () => {
  // P(X ≥ 2), n = 3, p = 1/2: (3 + 1) / 8.
  assert.ok(Math.abs(atLeast(2, 3, 0.5) - 0.5) < 1e-15);
  // 1 − (1 − p)^n
  assert.ok(Math.abs(atLeast(1, 4096, 1e-5) - 0.0401327) < 1e-6);
  assert.deepEqual([atLeast(0, 5, 0.1), atLeast(6, 5, 0.1)], [1, 0]);
});

function byPeer(a: { readonly peer: string }, b: { readonly peer: string }): number {
  return a.peer < b.peer ? -1 : 1;
}
