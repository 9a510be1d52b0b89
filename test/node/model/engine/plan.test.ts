// What an engine makes of its memory budget: never more than it, a bound copy only where it fits, rows by what is short.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { rowBytes } from '../../../../node/model/engine/kv-cache.ts';
import { describePlan, planEngine, rowBudget } from '../../../../node/model/engine/plan.ts';
import { isSwarmError } from '../../../../node/protocol/errors.ts';
import { randomModel } from '../../../support/random-model.ts';

const { config, weights } = randomModel();
const policyBytes = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);

test('weights, copy, cache and activations together stay in the budget', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1000, max: 10_000_000 }), (memoryBytes) => {
      const plan = planEngine(config, { memoryBytes });
      const copy = plan.binding === 'bound' ? plan.policyBytes : 0;
      assert.equal(plan.policyBytes, policyBytes);
      assert.ok(plan.weightsBytes + copy + plan.cacheBytes + plan.activationBytes <= memoryBytes);
      if (plan.binding === 'bound') assert.ok(plan.weightsBytes >= policyBytes);
    }),
  );
  assert.equal(planEngine(config, { memoryBytes: 4 * policyBytes }).binding, 'fed');
  assert.equal(planEngine(config, { memoryBytes: 5 * policyBytes }).binding, 'bound');
});

test('rows are as many as the scarcest allows', () => {
  const ofTokens = rowBytes(config, 32);
  const plenty = 1e9;
  const limitOf = (cacheBytes: number, activationBytes: number) =>
    rowBudget(config, 20, { cacheBytes, activationBytes });
  assert.deepEqual(limitOf(plenty, plenty), { rows: 128, limit: 'processor' });
  assert.deepEqual(limitOf(5.5 * ofTokens, plenty), { rows: 5, limit: 'cache' });
  assert.equal(limitOf(plenty, 20_000).limit, 'activations');
  assert.equal(limitOf(plenty, 1).rows, 1);
  assert.throws(
    () => limitOf(ofTokens - 1, plenty),
    (error) => isSwarmError(error, 'OUT_OF_MEMORY_BUDGET'),
  );
});

test('the plan is told in figures', () => {
  const told = describePlan(config, { threads: 3, memoryBytes: 100 * policyBytes });
  assert.equal(told.threads, 3);
  assert.ok(Number(told.policiesKept) >= 48 && Number(told.policiesKept) <= 50);
  assert.match(String(told.weights), /^bound/);
});
