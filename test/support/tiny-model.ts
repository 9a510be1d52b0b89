// A Llama of a few thousand parameters for tests that need a real one.

/** config.json text: 2 layers, width 16, 2 heads, 12 tokens. */
export const TINY_CONFIG_JSON: string = JSON.stringify({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 12,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  eos_token_id: 1,
});
