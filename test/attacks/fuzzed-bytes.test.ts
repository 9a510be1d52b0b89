// Bytes made by damaging real messages: every decoder refuses with a code or accepts what it can write again, and allocates
// within its limits. A million of each: `npm run bench -- --only fuzz`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from '../support/fuzz/run.ts';
import { fuzzTargets } from '../support/fuzz/targets.ts';

const INPUTS = 1_000;
const SEED = 5;

for (const target of fuzzTargets()) {
  test(`a ${target.name}, damaged ${INPUTS} times`, async (t) => {
    t.mock.method(console, 'warn', () => undefined); // the tokenizer package's words
    const { accepted, refused } = await fuzz(target, INPUTS, SEED);
    assert.ok(accepted > 0, 'some damage does no harm');
    assert.ok(Object.keys(refused).length > 0, 'the others are refused');
  });
}
