// Inverse frequencies against transformers' own functions: the vectors of whole models cover few of the settings.
// The numbers are what modeling_rope_utils.py of transformers 5.23 gives when its torch calls are run in float64.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseModelConfig } from '../../../../node/model/config.ts';
import { attentionFactor, inverseFrequencies, rotaryAngles } from '../../../../node/model/llama/rope.ts';

const common = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 64,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  vocab_size: 8,
  max_position_embeddings: 65536,
};

const cases: readonly (readonly [rope: object, headDim: number, inverse: readonly number[], factor: number])[] = [
  [
    { rope_type: 'yarn', factor: 4.0, rope_theta: 10000.0, original_max_position_embeddings: 64 },
    8,
    [1.0, 0.0625, 0.0025, 0.00025],
    1.138629436111989,
  ],
  [
    {
      rope_type: 'yarn',
      factor: 40.0,
      rope_theta: 1000000.0,
      original_max_position_embeddings: 4096,
      beta_fast: 16,
      beta_slow: 2,
      mscale: 1.0,
      mscale_all_dim: 0.8,
    },
    16,
    [1.0, 0.177827941, 0.0316227766, 0.00288199929, 2.5e-5, 4.44569853e-6, 7.90569415e-7, 1.40585331e-7],
    1.0569662567531275,
  ],
  [
    { rope_type: 'yarn', factor: 32.0, rope_theta: 150000.0, original_max_position_embeddings: 4096, truncate: false },
    16,
    [1.0, 0.225418, 0.0508132748, 0.00679495949, 0.000456483919, 1.81883367e-5, 4.09997848e-6, 9.2420895e-7],
    1.3465735902799727,
  ],
  [
    {
      rope_type: 'yarn',
      factor: 2.0,
      rope_theta: 10000.0,
      original_max_position_embeddings: 64,
      beta_fast: 4.0,
      beta_slow: 4.0,
      truncate: false,
      attention_factor: 1.25,
    },
    12,
    [1.0, 0.107721735, 0.0232079442, 0.005, 0.00107721735, 0.000232079442],
    1.25,
  ],
  [
    { rope_type: 'yarn', factor: 2.0, rope_theta: 10.0, original_max_position_embeddings: 8, beta_slow: 0.01 },
    8,
    [1.0, 0.522174088, 0.271052371, 0.139721954],
    1.0693147180559945,
  ],
  [
    {
      rope_type: 'llama3',
      factor: 8.0,
      rope_theta: 500000.0,
      low_freq_factor: 1.0,
      high_freq_factor: 4.0,
      original_max_position_embeddings: 8192,
    },
    16,
    [1.0, 0.193922745, 0.0376060309, 0.00729266474, 0.000524846161, 3.4281022e-5, 6.64786987e-6, 1.28917317e-6],
    1.0,
  ],
  [
    {
      rope_type: 'llama3',
      factor: 32.0,
      rope_theta: 10000.0,
      low_freq_factor: 1.0,
      high_freq_factor: 2.0,
      original_max_position_embeddings: 128,
    },
    12,
    [1.0, 0.215443469, 0.00145049651, 0.0003125, 6.73260841e-5, 1.45049651e-5],
    1.0,
  ],
  [
    { rope_type: 'linear', factor: 3.0, rope_theta: 10000.0 },
    8,
    [0.333333333, 0.0333333333, 0.00333333333, 0.000333333333],
    1.0,
  ],
];

for (const [rope, headDim, expected, factor] of cases) {
  test(JSON.stringify(rope), () => {
    const config = parseModelConfig({ ...common, head_dim: headDim, rope_parameters: rope });
    const got = inverseFrequencies(config);
    assert.equal(got.length, expected.length);
    for (const [i, frequency] of expected.entries()) {
      // float32 in a few steps: 2^-24 of relative error each
      assert.ok(Math.abs(got[i]! - frequency) <= 3e-7 * frequency, `pair ${i}: ${got[i]}, expected ${frequency}`);
    }
    assert.ok(Math.abs(attentionFactor(config) - factor) < 1e-12);
  });
}

test('angles are positions times frequencies, in float32', () => {
  const config = parseModelConfig({ ...common, head_dim: 4, rope_theta: 10_000 });
  assert.deepEqual([...rotaryAngles(config, 3)], [0, 0, 1, Math.fround(0.01), 2, Math.fround(0.02)]);
});
