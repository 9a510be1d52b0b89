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

test("the hash of a plain Llama is what it was before there were other families: recipes' ids hold it", () => {
  const hash = Buffer.from(configHash(newer)).toString('hex');
  assert.equal(hash, '611197169c1da727e543caf06f0c7dae166049518b913d6983e3507fc2d6938e');
});

test('every field that a graph reads changes the hash', () => {
  for (const change of [
    { rms_norm_eps: 1e-6 },
    { mlp_bias: true },
    { vocab_size: 97 },
    { tie_word_embeddings: false },
    { rope_parameters: { rope_theta: 20000, rope_type: 'linear', factor: 2 } },
    { rope_parameters: { rope_theta: 20000, rope_type: 'linear', factor: 4 } },
    { architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3' },
  ]) {
    assert.notDeepEqual(configHash({ ...newer, ...change }), configHash(newer));
  }
});

/** The field that an error names, and the change to a config that all families take (less what they set below). */
const refused: [string, object][] = [
  ['architectures', { architectures: ['GPT2LMHeadModel'] }],
  ['architectures', { architectures: ['MixtralForCausalLM'], model_type: 'mixtral', num_local_experts: 8 }],
  ['architectures', { architectures: ['Qwen3MoeForCausalLM'], model_type: 'qwen3_moe' }],
  ['architectures', { architectures: ['LlamaForSequenceClassification'] }],
  ['architectures', { architectures: ['LlamaForCausalLM', 'MistralForCausalLM'] }],
  ['architectures', { architectures: undefined, model_type: undefined }],
  ['architectures', { architectures: undefined, model_type: 'gemma2' }],
  ['model_type', { model_type: 'granite' }],
  ['rope_parameters.rope_type', { rope_parameters: { rope_theta: 1e4, rope_type: 'dynamic', factor: 4 } }],
  ['rope_parameters.rope_type', { rope_parameters: { rope_theta: 1e4, rope_type: 'proportional' } }],
  ['rope_parameters.rope_type', { rope_parameters: { rope_theta: 1e4, rope_type: 'toString' } }],
  ['rope_parameters.rope_type', { rope_parameters: { rope_theta: 1e4, rope_type: ['yarn'] } }],
  ['rope_parameters.factor', { rope_parameters: { rope_theta: 1e4, rope_type: 'yarn' } }],
  ['rope_parameters.factor', { rope_parameters: { rope_theta: 1e4, rope_type: 'linear', factor: '4' } }],
  ['rope_parameters.low_freq_factor', { rope_parameters: { rope_type: 'llama3', factor: 8, high_freq_factor: 4 } }],
  ['rope_parameters.attention_factor', { rope_parameters: { rope_type: 'yarn', factor: 4, attention_factor: 0 } }],
  ['rope_parameters.truncate', { rope_parameters: { rope_type: 'yarn', factor: 4, truncate: 'no' } }],
  ['rope_parameters.rope_theta', { rope_parameters: { rope_type: 'default', rope_theta: 0 } }],
  ['rope_parameters.partial_rotary_factor', { rope_parameters: { rope_theta: 1e4, partial_rotary_factor: 0.5 } }],
  ['rope_parameters.mrope_section', { rope_parameters: { rope_theta: 1e4, mrope_section: [1, 1, 2] } }],
  ['rope_parameters.full_attention', { rope_parameters: { full_attention: { rope_theta: 1e4 } } }],
  ['rope_parameters', { rope_parameters: [1] }],
  ['rope_scaling.rope_type', { rope_scaling: { type: 'dynamic', factor: 2 } }],
  ['rope_scaling.rope_type', { rope_scaling: { rope_type: 'longrope', short_factor: [1], long_factor: [1] } }],
  ['rope_scaling.rope_type', { rope_scaling: { type: 'su' } }],
  ['rope_scaling', { rope_scaling: 'linear' }],
  ['hidden_act', { hidden_act: 'gelu' }],
  ['quantization_config', { quantization_config: { bits: 4 } }],
  ['sliding_window', { sliding_window: 255, use_sliding_window: true, max_window_layers: 1 }],
  ['layer_types', { layer_types: ['full_attention', 'sliding_attention'] }],
  ['layer_types', { layer_types: 'full_attention' }],
  ['num_local_experts', { num_local_experts: 8 }],
  ['num_experts', { num_experts: 128 }],
  ['num_experts_per_tok', { num_experts_per_tok: 2 }],
  ['moe_intermediate_size', { moe_intermediate_size: 768 }],
  ['partial_rotary_factor', { partial_rotary_factor: 0.5 }],
  ['no_rope_layers', { no_rope_layers: [1, 0] }],
  ['attention_multiplier', { attention_multiplier: 0.0078125 }],
  ['embedding_multiplier', { embedding_multiplier: 12 }],
  ['residual_multiplier', { residual_multiplier: 0.22 }],
  ['logits_scaling', { logits_scaling: 8 }],
  ['scale_emb', { scale_emb: 12 }],
  ['scale_depth', { scale_depth: 1.4 }],
  ['final_logit_softcapping', { final_logit_softcapping: 30 }],
  ['attn_logit_softcapping', { attn_logit_softcapping: 50 }],
  ['query_pre_attn_scalar', { query_pre_attn_scalar: 256 }],
  ['clip_qkv', { clip_qkv: 8 }],
  ['qk_layernorm', { qk_layernorm: true }],
  ['parallel_attn', { parallel_attn: true }],
  ['alibi', { alibi: true }],
  ['position_embedding_type', { position_embedding_type: 'alibi' }],
  ['kv_lora_rank', { kv_lora_rank: 512 }],
  ['is_causal', { is_causal: false }],
  ['is_encoder_decoder', { is_encoder_decoder: true }],
  ['use_bidirectional_attention', { use_bidirectional_attention: true }],
  ['num_nextn_predict_layers', { num_nextn_predict_layers: 1 }],
  ['vision_config', { vision_config: {} }],
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

const families: Readonly<Record<string, object>> = {
  llama: {},
  mistral: { architectures: ['MistralForCausalLM'], model_type: 'mistral', sliding_window: null, mlp_bias: undefined },
  qwen2: { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2', use_sliding_window: false },
  qwen3: { architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3', use_sliding_window: false },
};
const refusesByName = (json: object, field: string): void =>
  assert.throws(
    () => parseModelConfig(json),
    (error) => isSwarmError(error, 'UNSUPPORTED_MODEL') && error.detail.field === field,
    JSON.stringify(json),
  );

for (const [name, family] of Object.entries(families)) {
  test(`${name}: what is not computed is refused by its field`, () => {
    const json = { ...newer, ...family };
    assert.equal(parseModelConfig(json).architecture, json.architectures[0]);
    for (const [field, change] of refused) refusesByName({ ...json, ...change }, field);
  });
}

const silent: readonly object[] = [
  {
    pretraining_tp: 2,
    attention_dropout: 0.1,
    initializer_range: 0.3,
    use_cache: false,
    auto_map: {},
    pad_token_id: 5,
  },
  {
    hidden_act: 'swish',
    num_experts: 0,
    no_rope_layers: [],
    logits_scaling: 1,
    partial_rotary_factor: 1,
    clip_qkv: null,
  },
  {
    quantization_config: null,
    rope_scaling: {},
    layer_types: ['full_attention', 'full_attention'],
    num_local_experts: null,
  },
];
for (const change of silent) {
  test(`changes nothing: ${JSON.stringify(change)}`, () => {
    assert.deepEqual(parseModelConfig({ ...newer, ...change }), parseModelConfig(newer));
  });
}

test('a sliding window is refused where it hides something, in each family by its own rule', () => {
  const { llama, mistral, qwen2, qwen3 } = families;
  const window = (family: object | undefined, change: object) => ({ ...newer, ...family, ...change });
  // Mistral: a window is on unless it is null, absent means 4096, and use_sliding_window is no field of its
  refusesByName(window(mistral, { sliding_window: 128 }), 'sliding_window');
  refusesByName(window(mistral, { sliding_window: 128, use_sliding_window: false }), 'sliding_window');
  refusesByName(window(mistral, { sliding_window: undefined, max_position_embeddings: 8192 }), 'sliding_window');
  parseModelConfig(window(mistral, { sliding_window: undefined, max_position_embeddings: 4096 }));
  parseModelConfig(window(mistral, { sliding_window: 256 }));
  // Qwen: off unless switched on, and then from the layer max_window_layers on
  for (const qwen of [qwen2, qwen3]) {
    parseModelConfig(window(qwen, { sliding_window: 128, use_sliding_window: undefined }));
    parseModelConfig(window(qwen, { sliding_window: 128, use_sliding_window: true, max_window_layers: 2 }));
    parseModelConfig(window(qwen, { sliding_window: null, use_sliding_window: true, max_window_layers: 0 }));
    refusesByName(
      window(qwen, { sliding_window: 128, use_sliding_window: true, max_window_layers: 0 }),
      'sliding_window',
    );
  }
  refusesByName(window(llama, { sliding_window: 128 }), 'sliding_window');
  parseModelConfig(window(llama, { sliding_window: 128, use_sliding_window: false }));
});

test('what each family does of its own', () => {
  const read = (family: string, change: object = {}) => parseModelConfig({ ...newer, ...families[family], ...change });
  assert.equal(read('llama', { attention_bias: true }).attentionBias, true);
  refusesByName({ ...newer, ...families.mistral, attention_bias: true }, 'attention_bias');
  refusesByName({ ...newer, ...families.qwen3, mlp_bias: true }, 'mlp_bias');
  const qwen2 = requiredTensors(read('qwen2')).map(({ name }) => name);
  assert.ok(qwen2.includes('model.layers.1.self_attn.v_proj.bias'));
  assert.ok(!qwen2.includes('model.layers.1.self_attn.o_proj.bias'));
  const qwen3 = requiredTensors(read('qwen3', { head_dim: 16 }));
  assert.deepEqual(qwen3.find(({ name }) => name === 'model.layers.1.self_attn.k_norm.weight')?.shape, [16]);
  assert.ok(!qwen3.some(({ name }) => name.endsWith('.bias')));
  // transformers' own defaults for absent fields
  const bare = { head_dim: undefined, num_key_value_heads: undefined, num_attention_heads: 32, hidden_size: 64 };
  const shape = ({ headDim, keyValueHeads }: ReturnType<typeof read>): number[] => [headDim, keyValueHeads];
  assert.deepEqual(shape(read('llama', bare)), [2, 32]);
  assert.deepEqual(shape(read('mistral', bare)), [2, 8]);
  assert.deepEqual(shape(read('mistral', { ...bare, num_key_value_heads: null })), [2, 32]);
  assert.deepEqual(shape(read('qwen3', bare)), [128, 32]);
});

test('rope fields of both styles, and which of them wins', () => {
  const rope = (change: object) => {
    const { ropeTheta, ropeScaling } = parseModelConfig({ ...newer, rope_parameters: undefined, ...change });
    return [ropeTheta, ropeScaling];
  };
  const linear = { kind: 'linear', factor: 4 };
  assert.deepEqual(rope({}), [10_000, undefined]);
  assert.deepEqual(rope({ rope_theta: 5e5, rope_scaling: { type: 'linear', factor: 4 } }), [5e5, linear]);
  assert.deepEqual(rope({ rope_parameters: { rope_type: 'linear', factor: 4, rope_theta: 7 } }), [7, linear]);
  assert.deepEqual(rope({ rope_theta: 6, rope_parameters: { rope_type: 'linear', factor: 4 } }), [6, linear]);
  // as in transformers: a rope_scaling that holds anything stands for the whole of rope_parameters
  const both = { rope_scaling: { rope_type: 'linear', factor: 4 }, rope_parameters: { rope_theta: 7 } };
  assert.deepEqual(rope(both), [10_000, linear]);
  const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
  const read3 = { kind: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4 };
  assert.deepEqual(rope({ rope_scaling: llama3 })[1], { ...read3, originalMaxPositions: 256 });
  const [, outside] = rope({ rope_scaling: llama3, original_max_position_embeddings: 64 });
  assert.deepEqual(outside, { ...read3, originalMaxPositions: 64 });
});

test('YaRN: the attention factor as given, by mscale, or by the factor; zero counts as absent', () => {
  const yarn = (change: object) => {
    const rope = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64, ...change };
    const { ropeScaling } = parseModelConfig({ ...newer, rope_parameters: rope });
    return ropeScaling?.kind === 'yarn' ? ropeScaling : assert.fail();
  };
  const byFactor = 0.1 * Math.log(4) + 1;
  assert.deepEqual(yarn({ beta_fast: 0, beta_slow: null, mscale: 0.7 }), {
    kind: 'yarn',
    factor: 4,
    originalMaxPositions: 64,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    attentionFactor: byFactor,
  });
  assert.equal(yarn({ mscale: 1, mscale_all_dim: 0 }).attentionFactor, byFactor);
  assert.equal(yarn({ mscale: 1, mscale_all_dim: 0.5 }).attentionFactor, byFactor / (0.05 * Math.log(4) + 1));
  assert.equal(yarn({ mscale: 1, mscale_all_dim: 0.5, attention_factor: 1.5 }).attentionFactor, 1.5);
  assert.equal(yarn({ factor: 0.5 }).attentionFactor, 1);
  assert.equal(yarn({ factor: null }).factor, 256 / 64);
  assert.equal(yarn({ truncate: false }).truncate, false);
  assert.equal(yarn({ truncate: null }).truncate, false);
});

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
