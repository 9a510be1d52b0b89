import assert from 'node:assert/strict';
import { test } from 'node:test';
import { showCalibration } from '../../../node/cli/calibration-progress.ts';

function shown(isTTY: boolean) {
  const lines: string[] = [];
  let nowMs = 0;
  const out = { isTTY, write: (text: string) => lines.push(text) > 0 };
  const show = showCalibration(out, 100, () => nowMs);
  const at = (ms: number, part: string, done: number, of: number): void => {
    nowMs = ms;
    show(part, done, of);
  };
  return { lines, at };
}

test('in a log: a line a part, and one a minute, with the time left', () => {
  const { lines, at } = shown(false);
  at(0, 'limits', 0, 20);
  at(10_000, 'limits', 10, 20);
  at(20_000, 'limits', 20, 20);
  at(20_000, 'honest', 0, 80);
  at(60_000, 'honest', 40, 80);
  at(90_000, 'honest', 70, 80);
  at(100_000, 'honest', 80, 80);
  assert.deepEqual(lines, [
    'limits: 20 of 20 groups; 20 % of all, about 80 s left\n',
    'honest: 70 of 80 groups; 90 % of all, about 10 s left\n',
    'honest: 80 of 80 groups; 100 % of all\n',
  ]);
});

test('what an earlier run did counts as done, not as speed', () => {
  const { lines, at } = shown(true);
  at(0, 'limits', 20, 20);
  at(1_000, 'honest', 40, 80);
  at(11_000, 'honest', 50, 80);
  assert.match(lines.at(-1)!, /honest: 50 of 80 groups; 70 % of all, about 3\d s left$/);
});
