// The rule of whose acceptance counts, on made-up standings.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecipeAcceptance } from '../../recipes/sections.ts';
import { createAcceptanceRule, type Signer, type VerifierWorth } from '../../trainer/acceptance.ts';

const signer = (key: string): Signer => ({ key, peer: `peer of ${key}` });
const [own, named, trusted, known, stranger, silenced] = [
  'own',
  'named',
  'trusted',
  'known',
  'stranger',
  'silenced',
].map(signer) as [Signer, Signer, Signer, Signer, Signer, Signer];

const WORTH: Readonly<Record<string, VerifierWorth>> = {
  [trusted.peer]: { standing: 0.8, isSilenced: false },
  [known.peer]: { standing: 0.79, isSilenced: false },
  [silenced.peer]: { standing: 0, isSilenced: true },
};

function ruleOf(rule: RecipeAcceptance['rule'], names: readonly Signer[] = [own, named]) {
  return createAcceptanceRule(
    { rule, minStanding: 0.8, quorum: 2 },
    names.map(({ key }) => key),
    (peer) => WORTH[peer] ?? { standing: 0, isSilenced: false },
  );
}

test('own: the named alone, and one of them is enough', () => {
  const rule = ruleOf('own');
  assert.equal(rule.isMet([trusted, known, stranger]), false);
  assert.equal(rule.isMet([named]), true);
  assert.deepEqual([own, trusted, stranger].map(rule.weightOf), ['full', 'none', 'none']);
  assert.equal(rule.isNamedOnly, true);
});

test('standing: also who has earned enough; who has earned a little is remembered', () => {
  const rule = ruleOf('standing');
  assert.deepEqual([[own], [trusted], [known], [stranger], [known, stranger]].map(rule.isMet), [
    true,
    true,
    false,
    false,
    false,
  ]);
  assert.deepEqual([named, trusted, known, stranger].map(rule.weightOf), ['full', 'acceptance', 'acceptance', 'none']);
});

test('quorum: so many of those who count', () => {
  const rule = ruleOf('quorum');
  assert.deepEqual([[own], [own, stranger], [own, known], [own, trusted], [own, named]].map(rule.isMet), [
    false,
    false,
    false,
    true,
    true,
  ]);
});

test('a silenced verifier counts under no rule, named or not', () => {
  for (const rule of [ruleOf('own', [silenced]), ruleOf('standing', [silenced]), ruleOf('quorum', [silenced, own])]) {
    assert.equal(rule.weightOf(silenced), 'none');
    assert.equal(rule.isMet([silenced]), false);
  }
  assert.equal(ruleOf('quorum', [silenced, own]).isMet([silenced, own]), false);
});
