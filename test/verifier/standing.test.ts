// Standing: probation, trust, quarantine, slack, and that all of it survives a restart.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromUtf8, utf8 } from '../../node/protocol/bytes.ts';
import type { CheckCode } from '../../node/protocol/check.ts';
import type { Records } from '../../node/protocol/ports.ts';
import { atLeast } from '../../verifier/binomial.ts';
import {
  createStanding,
  type GroupOutcome,
  SLACK_WINDOW_TOKENS,
  type Standing,
  TRUST_HALF_LIFE_STEPS,
} from '../../verifier/standing.ts';
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

const at = (policyStep: number, outcome: GroupOutcome = passed()): GroupOutcome => ({ ...outcome, policyStep });

test('who is away loses half of what it earned every half-life, and is a newcomer again once nothing is left', async () => {
  const peers = standing();
  for (let i = 0; i < 3 + 8; i++) await peers.record('a', at(0));
  assert.equal(peers.of('a').trust, 8 / 11);
  // Others go on; "a" is not heard of.
  await peers.record('b', at(TRUST_HALF_LIFE_STEPS));
  assert.deepEqual([peers.of('a').passedSince, peers.wholeProbability('a')], [4, 1 - 4 / 7]);
  await peers.record('b', at(3 * TRUST_HALF_LIFE_STEPS));
  assert.deepEqual([peers.of('a').passedSince, peers.isNewcomer('a')], [1, false]);
  await peers.record('b', at(3 * TRUST_HALF_LIFE_STEPS + 1));
  assert.deepEqual([peers.isNewcomer('a'), peers.wholeProbability('a'), peers.of('a').probationPassed], [true, 1, 0]);
  assert.equal(peers.of('a').acceptedGroups, 11, 'what it did is not forgotten');
  await peers.record('a', at(3 * TRUST_HALF_LIFE_STEPS + 1));
  assert.equal(peers.of('a').probationPassed, 1, 'and it begins anew');
});

test('who ends probation and works on does not decay, however slow the swarm counts its steps', async () => {
  const peers = standing();
  for (let step = 0; step < 4; step++) await peers.record('a', at(step * (TRUST_HALF_LIFE_STEPS - 1)));
  assert.equal(peers.isNewcomer('a'), false);
});

test('peers of whom nothing is left are let go of, on disk too; quarantine and probation under way are not', async () => {
  const records = memoryRecords();
  const peers = standing(records);
  await peers.record('gone', at(0));
  await peers.record('trusted', at(0));
  for (let i = 0; i < 60; i++) await peers.record('trusted', at(0));
  await peers.record('liar', at(TRUST_HALF_LIFE_STEPS - 5, failed('REWARD_MISMATCH')));
  await peers.record('new', at(TRUST_HALF_LIFE_STEPS));
  await peers.forgetIdle();
  const names = (all: Standing): string[] => all.all().map(({ peer }) => peer);
  assert.deepEqual(names(peers), ['trusted', 'liar', 'new']);
  const after = standing(records);
  await after.open();
  assert.deepEqual(names(after).sort(), ['liar', 'new', 'trusted']);
});

test('a quarantine that is over is not shown any more', async () => {
  const peers = standing();
  await peers.record('a', failed('REWARD_MISMATCH'));
  assert.equal(peers.of('a').quarantinedUntilStep, 19);
  await peers.record('b', at(20));
  assert.equal(peers.of('a').quarantinedUntilStep, null);
});

test('slots left out: against the median of established others, steps in between included', async () => {
  const peers = standing();
  for (const peer of ['a', 'b', 'c', 'd', 'stops']) for (let i = 0; i < 3; i++) await peers.record(peer, passed());
  await peers.record('crowd', passed());
  assert.equal(peers.of('a').slotsLeftOut, null, 'nothing to compare');
  const fill = (peer: string, step: number, slots: number): void => {
    for (let slot = slots - 1; slot >= 0; slot--) peers.noteSlot(peer, step, slot);
  };
  for (let step = 1; step <= 4; step++) {
    for (const [peer, slots] of [
      ['a', 8],
      ['b', 8],
      ['c', 12],
      ['d', 8],
    ] as const) {
      fill(peer, step, slots);
    }
  }
  // The median of the others is 8 at each step: 2 + 0 + 0 + 8 of 4 · 8 filled.
  fill('stops', 1, 2);
  fill('stops', 4, 8);
  // A newcomer's claims move nobody's figure.
  for (let step = 1; step <= 4; step++) fill('crowd', step, 4_000);
  const leftOut = (peer: string): number | null => peers.of(peer).slotsLeftOut;
  assert.equal(leftOut('stops'), 1 - 10 / 32);
  assert.deepEqual([leftOut('a'), leftOut('c'), leftOut('crowd')], [0, 0, 0]);
  fill('a', 100, 1);
  assert.equal(leftOut('stops'), null, 'old steps leave the window');
});

test('soft misses: some are chance, many are steering, old ones leave the window', () => {
  const peers = standing();
  // 1e-5 · 4096 = 0.04 expected: three happen once in 10⁵ windows, four once in 10⁷.
  for (let i = 0; i < 120; i++) assert.equal(peers.countSlack('a', 100, i % 40 === 20 ? 1 : 0), false, `${i}`);
  assert.deepEqual([peers.of('a').softMisses, peers.of('a').slackTokens], [1, 4100]);
  assert.ok(peers.of('a').slackTokens >= SLACK_WINDOW_TOKENS);
  assert.equal(peers.of('a').checkedTokens, 12_000);
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

test('which rejections were counted is kept on disk; what an earlier version wrote counts all of its own', async () => {
  const records = memoryRecords();
  const reopened = async (): Promise<Standing> => {
    const again = standing(records);
    await again.open();
    return again;
  };
  const peers = standing(records);
  await peers.record('a', { ...failed('LOGPROB_DRIFT'), groupIdHex: 'one' });
  await peers.restartProbation('b', 'SLOT_EQUIVOCATION', ['two', 'three']);
  await peers.record('d', passed());
  for (const each of [peers, await reopened()]) {
    assert.deepEqual(
      [each.isCounted('a', 'one'), each.isCounted('a', 'two'), each.isCounted('b', 'three')],
      [true, false, true],
    );
    assert.equal(each.isCounted('c', 'one'), false);
  }
  for await (const [key, value] of records.entries()) {
    const { rejected: _, ...old } = JSON.parse(fromUtf8(value)) as { rejected: unknown };
    await records.put(key, utf8(JSON.stringify(old)));
  }
  const upgraded = await reopened();
  await upgraded.record('a', { ...failed('LOGPROB_DRIFT'), groupIdHex: 'four' });
  for (const each of [upgraded, await reopened()]) {
    assert.deepEqual([each.isCounted('a', 'two'), each.isCounted('d', 'two')], [true, false], 'd has none of its own');
  }
});
