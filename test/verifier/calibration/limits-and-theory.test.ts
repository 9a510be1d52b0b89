import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { drawnWithin } from '../../../node/model/sampling/draw.ts';
import type { ReplayedSequence } from '../../../node/protocol/ports.ts';
import type { Told } from '../../../verifier/calibration/groups.ts';
import { LIES } from '../../../verifier/calibration/lies/lies.ts';
import { findLimits, limitsFound, roundedUp } from '../../../verifier/calibration/limits.ts';
import { chanceOf, groupsUntilQuarantine } from '../../../verifier/calibration/theory.ts';
import { logitMoveOf, NO_DISTANCE, rejects } from '../../../verifier/checks/measure.ts';
import { createStanding } from '../../../verifier/standing.ts';
import { memoryRecords } from '../../support/memory-store.ts';

const WAS = {
  delta: 1e-4,
  maxLogprobDrift: 1e-3,
  maxMeanLogprobDrift: 1e-4,
  maxExponentMismatches: 38,
  maxMantissaErrorMean: 10,
  maxMantissaErrorMedian: 8,
};

test('a logit move is the δ at which the verifier begins to let a token pass', () => {
  const inside = fc.double({ min: 0.001, max: 0.999, noNaN: true });
  fc.assert(
    fc.property(inside, inside, inside, (u, a, b) => {
      const [x, y] = a < b ? [a, b] : [b, a];
      fc.pre(y - x > 1e-6 && u !== x && u !== y);
      const move = logitMoveOf(u, x, y);
      assert.ok(drawnWithin(u, x, y, move * (1 + 1e-9) + 1e-12));
      if (move > 1e-6) assert.ok(!drawnWithin(u, x, y, move * (1 - 1e-6)));
      else assert.ok(move >= 0);
    }),
  );
  assert.equal(logitMoveOf(0.5, 0.3, 0.3), Number.POSITIVE_INFINITY, 'cut away');
  assert.equal(logitMoveOf(0, 0.3, 0.4), Number.POSITIVE_INFINITY);
});

test('limits: eight times the largest, rounded up, and never below the least', () => {
  assert.deepEqual([1, 1.1, 2.4, 7, 0.00051, 9.1].map(roundedUp), [1, 2, 3, 7, 0.0006, 10]);
  const largest = { ...NO_DISTANCE, logitMove: 1e-8, largestDrift: 2e-5, meanDrift: 1e-9, exponentMismatches: 1 };
  const found = limitsFound(findLimits(largest, WAS));
  assert.equal(found.maxLogprobDrift, 2e-4, '8 · 2e-5');
  assert.equal(found.delta, 2e-4, 'logits moved as far as log-probs did');
  assert.equal(found.maxMeanLogprobDrift, 2e-6, 'the least');
  assert.equal(found.maxExponentMismatches, 8, '8 · 1');
  assert.ok(!rejects({ ...NO_DISTANCE, largestDrift: 3.9e-4 }, 'largestDrift', found));
  assert.ok(rejects({ ...NO_DISTANCE, largestDrift: 4.1e-4 }, 'largestDrift', found));
  assert.ok(rejects({ ...NO_DISTANCE, largestDrift: Number.NaN }, 'largestDrift', found), 'NaN is beyond every limit');
});

test('a forger is caught where its interval leaves the one that the verifier lets pass', () => {
  const replayed = (below: number, upTo: number): ReplayedSequence => ({
    ...{ logprobs: Float32Array.of(-1), alternatives: [], hidden: new Uint16Array(0) },
    ...{ below: Float64Array.of(below), upTo: Float64Array.of(upTo) },
  });
  const told = { sequences: [{ tokens: Uint32Array.of(1) }], lied: [true] } as unknown as Told;
  const chance = (delta: number) =>
    chanceOf(LIES.find(({ kind }) => kind === 'model')!, told, [replayed(0.3, 0.5)], [replayed(0.35, 0.5)], delta);
  const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-12, `${a}, not ${b}`);
  // 0.05 of 0.2 is the liar's alone.
  close(chance(0).overlap, 0.25);
  close(chance(0).halfL1!, 0.25);
  // δ = ln 1.02, rejected beyond twice it: odds move by a = 1.02⁴, so 0.35 goes down to 0.35 / (0.35 + a · 0.65) = 0.332.
  close(chance(Math.log(1.02)).overlap, (0.35 / (0.35 + 1.02 ** 4 * 0.65) - 0.3) / 0.2);
  assert.equal(chance(1).overlap, 0, 'wide enough for all of it');
});

test('groups until quarantine: as standing counts them', async () => {
  assert.equal(groupsUntilQuarantine(1, 8), 2);
  assert.equal(groupsUntilQuarantine(0, 8), Number.POSITIVE_INFINITY);
  const settings = { probationGroups: 4, pMin: 1, quarantineSteps: 14, delta: 1e-4 };
  const [p, runs] = [0.2, 2000];
  let state = 1;
  const random = (): number => {
    state = (state * 48_271) % 2_147_483_647; // Lehmer's generator, MINSTD
    return state / 2_147_483_647;
  };
  let groups = 0;
  for (let run = 0; run < runs; run++) {
    const standing = createStanding({ records: memoryRecords() }, { scope: 'test', settings });
    for (let caught = false; !caught; groups++) {
      const isCaught = random() < p;
      const answer = isCaught ? ('reject' as const) : ('accept' as const);
      const code = isCaught ? ('REPLAY_MISMATCH' as const) : null;
      caught = await standing.record('liar', { policyStep: 0, answer, code, whole: true });
    }
  }
  const expected = groupsUntilQuarantine(p, settings.probationGroups);
  // Standard deviation of the mean is below 0.35 of 13.5: five of them.
  assert.ok(Math.abs(groups / runs - expected) < 1.5, `${groups / runs}, expected ${expected}`);
});
