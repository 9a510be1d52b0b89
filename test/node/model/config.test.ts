// config.json in both styles, and every variant that the graphs do not compute.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configHash, parseModelConfig, requiredTensors } from '../../../node/model/config.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';

const newer = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  bos_token_id: 1,
  dtype: 'float32',
  eos_token_id: 2,
  head_dim: 8,
  hidden_act: 'silu',
  hidden_size: 32,
  intermediate_size: 72,
  max_position_embeddings: 256,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 4,
  num_hidden_layers: 2,
  num_key_value_heads: 2,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_parameters: { rope_theta: 20000, rope_type: 'default' },
  tie_word_embeddings: true,
  vocab_size: 96,
};
const { rope_parameters: _rope, dtype: _dtype, head_dim: _headDim, ...common } = newer;
const older = { ...common, rope_theta: 20000, rope_scaling: null, torch_dtype: 'float32', eos_token_id: [2, 3] };

test('the older and the newer style read alike', () => {
  const { eosTokenIds, ...config } = parseModelConfig(newer);
  assert.deepEqual(eosTokenIds, [2]);
  assert.deepEqual(parseModelConfig(older), { ...config, eosTokenIds: [2, 3] });
  assert.equal(config.ropeTheta, 20000);
  assert.equal(config.headDim, 8);
  assert.deepEqual(configHash(newer), configHash(older));
});

test('every field that a graph reads changes the hash', () => {
  for (const change of [
    { rms_norm_eps: 1e-6 },
    { mlp_bias: true },
    { vocab_size: 97 },
    { tie_word_embeddings: false },
  ]) {
    assert.notDeepEqual(configHash({ ...newer, ...change }), configHash(newer));
  }
});

const refused: [string, object][] = [
  ['architectures', { architectures: ['GPT2LMHeadModel'] }],
  ['architectures', { architectures: undefined, model_type: undefined }],
  ['rope_parameters', { rope_parameters: { rope_theta: 1e4, rope_type: 'yarn', factor: 4 } }],
  ['rope_scaling', { rope_scaling: { type: 'linear', factor: 2 } }],
  ['hidden_act', { hidden_act: 'gelu' }],
  ['quantization_config', { quantization_config: { bits: 4 } }],
  ['sliding_window', { sliding_window: 4096 }],
  ['layer_types', { layer_types: ['full_attention', 'sliding_attention'] }],
  ['num_key_value_heads', { num_key_value_heads: 3 }],
  ['hidden_size', { hidden_size: 2 ** 40 }],
  ['hidden_size', { hidden_size: '32' }],
  ['num_hidden_layers', { num_hidden_layers: 0 }],
  ['vocab_size', { vocab_size: undefined }],
  ['head_dim', { head_dim: 7 }],
  ['eos_token_id', { eos_token_id: 96 }],
  ['rms_norm_eps', { rms_norm_eps: -1 }],
  ['tie_word_embeddings', { tie_word_embeddings: 'yes' }],
];
for (const [field, change] of refused) {
  test(`refuses ${JSON.stringify(change)} by its field`, () => {
    assert.throws(
      () => parseModelConfig({ ...newer, ...change }),
      (error) => isSwarmError(error, 'UNSUPPORTED_MODEL') && error.detail.field === field,
    );
  });
}

test('refuses what is no object', () => {
  for (const json of [null, 1, 'x', []]) {
    assert.throws(
      () => parseModelConfig(json),
      (error) => isSwarmError(error, 'UNSUPPORTED_MODEL'),
    );
  }
});

test('required tensors: biases by flag, a tied head once', () => {
  const names = (change: object): string[] =>
    requiredTensors(parseModelConfig({ ...newer, ...change })).map(({ name }) => name);
  assert.equal(names({}).length, 2 + 2 * 9);
  assert.ok(!names({}).includes('lm_head.weight'));
  assert.ok(names({ tie_word_embeddings: false }).includes('lm_head.weight'));
  assert.ok(names({ attention_bias: true }).includes('model.layers.1.self_attn.o_proj.bias'));
  assert.ok(names({ mlp_bias: true }).includes('model.layers.0.mlp.down_proj.bias'));
});
