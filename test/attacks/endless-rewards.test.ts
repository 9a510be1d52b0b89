// Text that is meant to make a reward run for ever: long, repetitive, nearly a number at every place. Work is linear in the text
// and the text is bounded, so that these tests end at all; over the budget everybody's reward is 0.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_SCORED_CHARACTERS, MILLION } from '../../recipes/rewards/reward.ts';
import { type RewardTerm, rewardFunctions, totalScore } from '../../recipes/rewards/table.ts';

const PROBLEM = { prompt: '1+1=', answer: '2' };
const UNITS = [
  '1',
  '+',
  '-1',
  '1.',
  '1e',
  '1e+',
  '0.0',
  '1e1e',
  '>',
  '> 2',
  ' ',
  '\t\n',
  '😀',
  '\u0301',
  '２',
  '<d1e2',
];

const filled = (unit: string, characters: number): string =>
  unit.repeat(Math.ceil(characters / unit.length)).slice(0, characters);

for (const [id, reward] of rewardFunctions()) {
  const term: RewardTerm = { reward, settings: reward.settings.parse({}), weight: 1 };
  test(`${id}: ends on every repetition, within its bounds`, () => {
    for (const unit of UNITS) {
      for (const end of ['', '>2', 'x']) {
        const text = filled(unit, MAX_SCORED_CHARACTERS - end.length) + end;
        const score = totalScore([term], PROBLEM, text);
        assert.ok(Number.isInteger(score) && Math.abs(score) <= MILLION, `${JSON.stringify(unit)}: ${score}`);
      }
    }
  });

  test(`${id}: over the budget it is 0, whatever the answer`, () => {
    const text = `${filled('x', MAX_SCORED_CHARACTERS)}>2`;
    assert.equal(totalScore([term], PROBLEM, text), 0);
  });
}
