// Rewards: values worked by hand, integers in bounds for any text, time linear in hostile text.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { MAX_SCORED_CHARACTERS, MILLION, rewardId, textAfter } from '../../../recipes/rewards/reward.ts';
import { knownRewards, rewardFunction, rewardFunctions, totalScore } from '../../../recipes/rewards/table.ts';

const problem = { prompt: '17+25+9=', answer: '51' };

function scored(id: string, completion: string, settings: object = {}, answer = '51'): number {
  const reward = rewardFunction(id);
  return reward.score({ prompt: '', answer }, completion, reward.settings.parse(settings));
}

test('exact@1 compares what follows the last marker', () => {
  assert.equal(scored('exact@1', '<42,51>51'), MILLION);
  assert.equal(scored('exact@1', '51'), MILLION);
  assert.equal(scored('exact@1', '<51>42'), 0);
  assert.equal(scored('exact@1', '51>'), 0);
  assert.equal(scored('exact@1', '<51>51>51'), MILLION);
  assert.equal(scored('exact@1', '51<|pad|>'), 0);
  assert.equal(scored('exact@1', ''), 0);
  assert.equal(scored('exact@1', ' 51'), 0);
  assert.equal(scored('exact@1', ' 51\n', { trim: true }), MILLION);
  assert.equal(scored('exact@1', 'x>51', { after: '' }), 0);
  assert.equal(scored('exact@1', 'so #### 51', { after: '#### ' }), MILLION);
});

test('number@1 compares the last number after the last marker', () => {
  assert.equal(scored('number@1', '<42,51>it is 51.'), MILLION);
  assert.equal(scored('number@1', '<42,51>'), 0);
  assert.equal(scored('number@1', '51.0'), MILLION);
  assert.equal(scored('number@1', '5.1e1'), MILLION);
  assert.equal(scored('number@1', '-51'), 0);
  assert.equal(scored('number@1', '+51'), MILLION);
  assert.equal(scored('number@1', '51, no, 52'), 0);
  assert.equal(scored('number@1', '51.4', { tolerance: 0.5 }), MILLION);
  assert.equal(scored('number@1', '51.6', { tolerance: 0.5 }), 0);
  assert.equal(scored('number@1', '1e999', {}, '1e999'), 0, 'no infinities are equal');
  assert.equal(scored('number@1', 'none', {}, 'none'), 0);
});

test('length-penalty@1 takes the coefficient for each character away from the target', () => {
  const both = { targetCharacters: 4, perCharacter: 0.01, onlyOver: false };
  assert.equal(scored('length-penalty@1', 'abcd', both), 0);
  assert.equal(scored('length-penalty@1', 'abcdefg', both), -30_000);
  assert.equal(scored('length-penalty@1', 'a', both), -30_000);
  assert.equal(scored('length-penalty@1', 'a', { ...both, onlyOver: true }), 0);
  assert.equal(scored('length-penalty@1', 'x'.repeat(1000), { ...both, maxPenalty: 0.2 }), -200_000);
  assert.equal(scored('length-penalty@1', '😀'.repeat(5), both), -10_000, 'code points, not UTF-16 units');
  assert.equal(scored('length-penalty@1', '', { perCharacter: 0.0003 }), 0);
});

test('terms add up with their weights, exactly', () => {
  const terms = [
    { reward: rewardFunction('exact@1'), settings: rewardFunction('exact@1').settings.parse({}), weight: 0.9 },
    {
      reward: rewardFunction('length-penalty@1'),
      settings: rewardFunction('length-penalty@1').settings.parse({ perCharacter: 0.001 }),
      weight: 0.5,
    },
  ];
  // 0.9 · 1 000 000 - 0.5 · 9 · 1000
  assert.equal(totalScore(terms, problem, '<42,51>51'), 895_500);
  // 0.9 · 0 - 0.5 · 2 · 1000
  assert.equal(totalScore(terms, problem, '50'), -1_000);
});

test('a completion over the budget scores 0, right or wrong', () => {
  const terms = [{ reward: rewardFunction('exact@1'), settings: { after: '>', trim: false }, weight: 1 }];
  const padding = 'x'.repeat(MAX_SCORED_CHARACTERS - 3);
  assert.equal(totalScore(terms, problem, `${padding}>51`), MILLION);
  assert.equal(totalScore(terms, problem, `x${padding}>51`), 0);
});

test('every reward gives an integer in bounds for any text, never -0', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...'0123456789.eE+->< ') })),
      fc.string({ unit: fc.constantFrom(...'0123456789.e-') }),
      (completion, answer) => {
        for (const [, reward] of rewardFunctions()) {
          const value = reward.score({ prompt: '', answer }, completion, reward.settings.parse({}));
          assert.ok(Number.isInteger(value) && Math.abs(value) <= MILLION);
          assert.ok(!Object.is(value, -0));
        }
      },
    ),
  );
});

test('texts made to make matching slow are scored like any other', () => {
  const reward = rewardFunction('number@1');
  const settings = reward.settings.parse({});
  for (const unit of ['1', '1.', '1e', '+', '1e+', '.1', '>', '1e1.']) {
    const text = unit.repeat(Math.floor(MAX_SCORED_CHARACTERS / unit.length));
    assert.ok(Number.isInteger(reward.score(problem, text, settings)));
  }
});

test('textAfter takes the last marker only', () => {
  assert.equal(textAfter('a>b>c', '>'), 'c');
  assert.equal(textAfter('abc', '>'), 'abc');
  assert.equal(textAfter('a>b', ''), 'a>b');
});

test('an unknown reward is refused with those that are known', () => {
  assert.deepEqual(
    knownRewards(),
    rewardFunctions().map(([, reward]) => rewardId(reward)),
  );
  assert.throws(
    () => rewardFunction('exact@2'),
    (error) => isSwarmError(error, 'RECIPE_UNKNOWN_REWARD') && error.message.includes('exact@1'),
  );
});
