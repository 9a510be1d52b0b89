// Initial weights: as many and as large as the config says, the same for the same seed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseModelConfig, requiredTensors } from '../../node/model/config.ts';
import { initWeights } from '../../trainer/init-weights.ts';
import { TINY_CONFIG_JSON } from '../support/tiny-model.ts';

const config = parseModelConfig(JSON.parse(TINY_CONFIG_JSON));

test('every required tensor is there, norms are 1, matrices have the spread of their fan-in', () => {
  const weights = initWeights(config, 1);
  assert.deepEqual(
    [...weights].map(([name, { shape }]) => ({ name, shape })),
    requiredTensors(config).map(({ name, shape }) => ({ name, shape })),
  );
  assert.ok(weights.get('model.norm.weight')!.data.every((value) => value === 1));
  const { data } = weights.get('model.layers.0.mlp.gate_proj.weight')!;
  const square = data.reduce((sum, value) => sum + value * value, 0) / data.length;
  // Fan-in 16: variance 1/16; 512 samples keep the estimate within 25 %.
  assert.ok(Math.abs(square * 16 - 1) < 0.25, `${square * 16}`);
});

test('weights are a function of the seed', () => {
  assert.deepEqual(initWeights(config, 7), initWeights(config, 7));
  assert.notDeepEqual(initWeights(config, 7), initWeights(config, 8));
});
