// The demo's screen and its plain lines: what is shown is what happened.

import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { chart, createPlainDisplay, renderScreen, renderSummary, wrapped } from '../../../../node/cli/demo/display.ts';
import { applyEvent, createDemoState, type DemoState, LIAR, summarize } from '../../../../node/cli/demo/state.ts';
import type { RoleEvent } from '../../../../node/cli/events.ts';
import { evaluation, listening, quarantined, rejected, rollouts, sample, step } from './support.ts';

const PEER = `12D3KooW${'x'.repeat(36)}abcdefgh`;

test('a chart has a column a point, as high as its value', () => {
  assert.deepEqual(chart([0, 0.5, 1], 4, 60), ['1.0 │  █', '0.5 │  █', '    │ ██', '0.0 │ ██']);
  assert.deepEqual(
    chart([1 / 8, 2 / 8, 1], 1).map((line) => line.slice(5)),
    ['▁▂█'],
  );
  for (const points of [[], [0.3], [Number.NaN], [-1, 2]]) assert.equal(chart(points, 8, 60).length, 8);
});

test('more points than columns are thinned, the first and the newest kept', () => {
  const points = Array.from({ length: 1_000 }, (_, i) => (i === 999 ? 1 : 0));
  const top = chart(points, 2, 10)[0]!;
  assert.equal(top.length, 5 + 10);
  assert.equal(top.at(-1), '█');
});

function busyState(): DemoState {
  const state = createDemoState(0);
  applyEvent(state, 'node-1', listening('peer-1'));
  applyEvent(state, LIAR, listening(PEER));
  for (const event of [evaluation(0, 0.501, 5.5), step(1), step(2, { lagMax: 3 }), evaluation(2, 0.754, 8.25)]) {
    applyEvent(state, 'trainer', event);
  }
  applyEvent(state, 'node-1', rollouts(4, 1_234));
  applyEvent(state, 'node-1', { event: 'policy', recipeId: 'r', policyStep: 2, policyRoot: 'p' });
  applyEvent(state, 'node-1', sample('<d2e1b0>b'));
  return state;
}

test('the screen shows accuracy, groups, policy steps, samples and the liar', () => {
  const state = busyState();
  const before = renderScreen(state, 65_000).join('\n');
  for (const part of [
    '65 s',
    'policy step 2',
    '0.754 (before 0.501, goal 0.930)',
    '20 announced',
    'most 3',
    '1234 tokens/s',
  ]) {
    assert.ok(before.includes(part), part);
  }
  for (const part of ['node-1 2', 'ad,da:a3=<d2e1b0>b', 'not caught yet', 'honest groups rejected: 0']) {
    assert.ok(before.includes(part), part);
  }
  applyEvent(state, 'verifier', rejected(PEER, 'ACTIVATION_MISMATCH'));
  applyEvent(state, 'verifier', quarantined(PEER, 4));
  const after = renderScreen(state, 66_000).join('\n');
  assert.ok(after.includes('caught at ACTIVATION_MISMATCH × 1; quarantined'), after);
  assert.ok(after.includes('honest groups rejected: 0'));
  assert.ok(renderScreen(createDemoState(0), 0).length > 10);
});

test('before the first step it says what is waited for', () => {
  const state = createDemoState(0);
  assert.match(renderScreen(state, 1_000).join('\n'), /evaluating the model before it learns/);
  applyEvent(state, 'trainer', evaluation(0, 0.5));
  applyEvent(state, 'node-1', rollouts(4, 1_234));
  assert.match(renderScreen(state, 1_000).join('\n'), /first batch: 4 groups made, 0 accepted/);
  applyEvent(state, 'trainer', step(1));
  assert.doesNotMatch(renderScreen(state, 1_000).join('\n'), /first batch/);
});

test('all of it fits a terminal of 24 rows and 80 columns, samples and the liar too', () => {
  const state = busyState();
  for (const name of ['trainer', 'verifier', 'node-2', 'node-3', LIAR]) {
    applyEvent(state, name, { event: 'policy', recipeId: 'r', policyStep: 2, policyRoot: 'p' });
  }
  for (let k = 0; k < 4; k++) applyEvent(state, 'node-1', sample('<d2e1b0>b'));
  const lines = renderScreen(state, 65_000, 23).flatMap((line) => wrapped(line, 79));
  assert.ok(lines.length <= 23, `${lines.length} lines`);
  assert.match(lines.at(-1)!, /reward 1$/);
  assert.ok(lines.every((line) => line.length <= 79));
});

test('a line too wide is broken between words, and none of it is lost', () => {
  assert.deepEqual(wrapped('one two  three', 9), ['one two', '  three']);
  assert.deepEqual(wrapped('1.0 │ █ ▁', 20), ['1.0 │ █ ▁']);
  assert.deepEqual(wrapped('', 20), ['']);
});

test('without a terminal there is a plain line for what matters, with names for peers', () => {
  const state = busyState();
  let text = '';
  const out = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const display = createPlainDisplay(state, out);
  const said = (event: RoleEvent): string => {
    text = '';
    display.event('node-1', event);
    return text;
  };
  assert.equal(said(sample('x')), '');
  assert.match(said(step(3)), /^step 3: reward 0\.500.*groups 16 trained, 1 rejected, 1 stale, 0 dropped\n$/);
  assert.match(
    said(evaluation(5, 0.9)),
    /^step 5: held-out accuracy 90\.0 %.*\n {2}for example .*<d2e1b0>b {3}reward 1\n$/,
  );
  assert.match(said(rejected(PEER, 'CODE')), /^rejected group cdcdcdcdcdcd of liar: CODE, numbers\n$/);
  assert.match(said(quarantined(PEER, 4)), /^liar is quarantined until step 15/);
  assert.equal(said({ event: 'notice', text: 'retrying' }), 'node-1: retrying\n');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the point
  assert.doesNotMatch(text, /\u001b/);
});

test('the summary says before and after, and adds up', () => {
  const state = busyState();
  const text = renderSummary(summarize(state, 1, 90_000), '/data', true);
  for (const part of ['learned it in 2 steps and 90 seconds (goal 0.930)', '0.501', '0.754', '5.5', '8.3', '/data']) {
    assert.ok(text.includes(part), part);
  }
  assert.ok(text.includes('20 announced = 16 trained + 1 rejected + 1 stale + 0 dropped + 2 pending'));
  assert.match(text, /^liar {6}not quarantined/m);
  assert.ok(renderSummary(summarize(state, 1, 90_000), '/data', false).includes('Stopped after 2 steps'));
});

test('a demo stopped before its first evaluation claims no accuracy', () => {
  const text = renderSummary(summarize(createDemoState(0), 1, 3_000), '/data', false);
  assert.match(text, /nothing was evaluated yet/);
  assert.doesNotMatch(text, /held-out accuracy/);
});

test('a swarm that gets nothing right is told why nothing happens, until it trains after all', () => {
  const state = createDemoState(0);
  applyEvent(state, 'trainer', evaluation(0, 0));
  assert.match(renderScreen(state, 1_000).join('\n'), /nothing to learn from/);
  applyEvent(state, 'trainer', step(1));
  assert.doesNotMatch(renderScreen(state, 1_000).join('\n'), /nothing to learn from/);
});

test('where nobody lies, nothing is said of a liar', () => {
  const state = createDemoState(0, { goal: () => 0.8, hasLiar: false });
  applyEvent(state, 'trainer', evaluation(0, 0.2));
  const screen = renderScreen(state, 1_000).join('\n');
  assert.ok(screen.includes('goal 0.800'));
  assert.doesNotMatch(screen, /liar/);
  assert.doesNotMatch(renderSummary(summarize(state, 1, 2_000), '/data', false), /liar/);
});
