// What another verifier has earned: how it grows, is lost, and fades.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerIdString } from '../../node/protocol/ports.ts';
import { TRUST_HALF_LIFE_STEPS } from '../../verifier/standing.ts';
import {
  CONFIRMED_TO_HALF,
  createVerifierStandings,
  type VerifierStandings,
} from '../../verifier/verifier-standing.ts';
import { memoryRecords } from '../support/memory-store.ts';
import { testRecipe } from './support/swarm.ts';

const recipe = testRecipe();
const verifier = 'verifier' as PeerIdString;

async function confirm(standings: VerifierStandings, times: number, policyStep: number): Promise<void> {
  for (let i = 0; i < times; i++) await standings.confirm(verifier, policyStep);
}

test('standing halves its count every half-life without a confirmation, over a restart too', async () => {
  const records = memoryRecords();
  const standings = createVerifierStandings({ records }, recipe);
  await confirm(standings, 2 * CONFIRMED_TO_HALF, 10);
  assert.equal(standings.of(verifier).standing, 2 / 3);
  await standings.forgetBefore(10 + TRUST_HALF_LIFE_STEPS);
  assert.equal(standings.of(verifier).standing, 1 / 2);

  const again = createVerifierStandings({ records }, recipe);
  await again.open();
  assert.equal(again.of(verifier).standing, 2 / 3, 'nobody told it yet that time passed');
  await again.confirm(verifier, 10 + TRUST_HALF_LIFE_STEPS);
  assert.equal(again.of(verifier).standing, (CONFIRMED_TO_HALF + 1) / (2 * CONFIRMED_TO_HALF + 1));
  assert.equal(again.of(verifier).confirmed, 2 * CONFIRMED_TO_HALF + 1, 'what it was right about stays told');
});

test('a contradiction takes all of it, and makes it four times as long to earn', async () => {
  const standings = createVerifierStandings({ records: memoryRecords() }, recipe);
  await confirm(standings, 100, 1);
  await standings.contradict(verifier, { groupIdHex: 'ab', policyStep: 1, silences: true });
  assert.equal(standings.of(verifier).standing, 0);
  const { quarantineSteps } = recipe.recipe.verification;
  assert.equal(standings.isSilenced(verifier, 1 + quarantineSteps), true);
  assert.equal(standings.isSilenced(verifier, 2 + quarantineSteps), false);
  await confirm(standings, 4 * CONFIRMED_TO_HALF, 1);
  assert.equal(standings.of(verifier).standing, 1 / 2);
});
