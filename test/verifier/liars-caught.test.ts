// How many false groups pass before a liar is caught: the derivation in verifier/standing.ts beside simulated peers that meet
// the real standing. Seeded; tolerances are four standard errors of the simulated mean.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CheckCode } from '../../node/protocol/check.ts';
import { createStanding, type Standing, type StandingSettings } from '../../verifier/standing.ts';
import { memoryRecords } from '../support/memory-store.ts';

const SETTINGS: StandingSettings = { probationGroups: 8, pMin: 0.1, quarantineSteps: 14, delta: 1e-4 };
const EXACT: CheckCode = 'REWARD_MISMATCH';

/** Chances to catch a false group, replayed whole and by one secret sequence. */
interface Catch {
  readonly whole: number;
  readonly one: number;
}

/** Uniform numbers from a 32-bit state (mulberry32). */
function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** N(q) of verifier/standing.ts, summed until the rest is below 1e-12. */
function expectedFalseGroups(lyingRate: number, { whole, one }: Catch): number {
  const { probationGroups, pMin } = SETTINGS;
  let free = 1;
  let total = 0;
  for (let n = -probationGroups; free > 1e-12; n++) {
    const w = n < 0 ? 1 : Math.max(pMin, probationGroups / (n + probationGroups));
    const caught = w * whole + (1 - w) * one;
    total += free * lyingRate * (1 - caught);
    free *= 1 - lyingRate * caught;
  }
  return total;
}

interface Turn {
  readonly passed: boolean;
  readonly caught: boolean;
}

/** One group of a peer: the lot decides what is replayed, the replay whether a lie is seen, standing what follows. */
async function turn(
  peers: Standing,
  peer: string,
  lies: boolean,
  { whole, one }: Catch,
  next: () => number,
  code: CheckCode = EXACT,
): Promise<Turn> {
  const isWhole = next() < peers.wholeProbability(peer);
  const caught = lies && next() < (isWhole ? whole : one);
  const outcome = { policyStep: 0, whole: isWhole };
  if (caught) await peers.record(peer, { ...outcome, answer: 'reject', code });
  else await peers.record(peer, { ...outcome, answer: 'accept', code: null });
  return { passed: lies && !caught, caught };
}

const newStanding = (): Standing =>
  createStanding({ records: memoryRecords() }, { scope: 'recipe', settings: SETTINGS });

/** Mean of `trials` lives, and its standard error. */
async function mean(
  trials: number,
  life: (trial: number) => Promise<number>,
): Promise<{ readonly mean: number; readonly error: number }> {
  const values: number[] = [];
  for (let trial = 0; trial < trials; trial++) values.push(await life(trial));
  const average = values.reduce((a, b) => a + b, 0) / trials;
  const variance = values.reduce((sum, value) => sum + (value - average) ** 2, 0) / (trials - 1);
  return { mean: average, error: Math.sqrt(variance / trials) };
}

const CATCHES: readonly Catch[] = [
  { whole: 1, one: 1 / 16 },
  { whole: 0.7, one: 0.3 },
];

for (const chance of CATCHES) {
  const leastCaught = SETTINGS.pMin * chance.whole + (1 - SETTINGS.pMin) * chance.one;
  const bound = (1 - leastCaught) / leastCaught;

  for (const lyingRate of [1, 0.1, 0.03]) {
    test(`lies at a rate of ${lyingRate}, caught ${chance.whole} / ${chance.one}: as many pass as derived`, async () => {
      const expected = expectedFalseGroups(lyingRate, chance);
      assert.ok(expected <= bound);
      const next = uniforms(17 * lyingRate * 100 + chance.whole * 10);
      const peers = newStanding();
      const measured = await mean(lyingRate < 0.1 ? 400 : 1_500, async (trial) => {
        for (let passed = 0; ; ) {
          const seen = await turn(peers, `liar ${trial}`, next() < lyingRate, chance, next);
          if (seen.caught) return passed;
          if (seen.passed) passed++;
        }
      });
      const tolerance = 4 * measured.error + 1e-9;
      assert.ok(Math.abs(measured.mean - expected) <= tolerance, `${measured.mean} ± ${measured.error}, ${expected}`);
    });
  }

  test(`a sleeper, caught ${chance.whole} / ${chance.one}: key after key he gets the bound, and pays P/pMin honest groups for it`, async () => {
    const { probationGroups, pMin } = SETTINGS;
    const next = uniforms(23 + chance.whole * 10);
    const peers = newStanding();
    const [honestPerKey, keys] = [Math.ceil(probationGroups / pMin), 200];
    const passed = await mean(keys, async (key) => {
      const peer = `sleeper ${key}`;
      for (let n = 0; n < honestPerKey; n++) await turn(peers, peer, false, chance, next);
      assert.ok(Math.abs(peers.wholeProbability(peer) - pMin) < 1e-12, 'he lies once he is looked at least');
      assert.ok(
        peers.of(peer).probationPassed === probationGroups && peers.of(peer).wholeGroups >= probationGroups,
        'and was looked at whole before',
      );
      for (let count = 0; ; ) {
        const seen = await turn(peers, peer, true, chance, next);
        if (seen.passed) count++;
        if (!seen.caught) continue;
        assert.equal(peers.isQuarantined(peer, 0), true);
        return count;
      }
    });
    assert.ok(Math.abs(passed.mean - bound) <= 4 * passed.error, `${passed.mean} ± ${passed.error}, ${bound}`);
    const share = passed.mean / (honestPerKey + passed.mean);
    const most = bound / (probationGroups / pMin + bound);
    assert.ok(Math.abs(share - most) <= (4 * passed.error) / honestPerKey, `${share}, ${most}`);
  });
}

test('a sleeper who is only caught by numbers keeps his key, and pays the whole way again', async () => {
  const chance = CATCHES[0]!;
  const next = uniforms(5);
  const peers = newStanding();
  for (let life = 0; life < 20; life++) {
    while (peers.wholeProbability('sleeper') > SETTINGS.pMin) await turn(peers, 'sleeper', false, chance, next);
    const before = peers.of('sleeper').acceptedGroups;
    while (!(await turn(peers, 'sleeper', true, chance, next, 'REPLAY_MISMATCH')).caught);
    assert.deepEqual([peers.isNewcomer('sleeper'), peers.isQuarantined('sleeper', 0)], [true, false]);
    assert.ok(before >= (life + 1) * (SETTINGS.probationGroups / SETTINGS.pMin - 1));
  }
  // A lie during the probation that follows ends it.
  while (!(await turn(peers, 'sleeper', true, { whole: 1, one: 1 }, next, 'REPLAY_MISMATCH')).caught);
  assert.equal(peers.isQuarantined('sleeper', 0), true);
});
