// The families of decoders that one graph builder covers, their differences as data; and the fields that say a model
// computes something else. Source: transformers 5.23 models/{llama,mistral,qwen2,qwen3}, configuration and modeling.
// A field that is not listed changes nothing at inference there (initializer_range, use_cache, pretraining_tp, …).

import { type Fields, flag, size, unsupported } from './config-fields.ts';

export type Architecture = 'LlamaForCausalLM' | 'MistralForCausalLM' | 'Qwen2ForCausalLM' | 'Qwen3ForCausalLM';

export interface Family {
  readonly architecture: Architecture;
  readonly modelType: string;
  /** biases of attention: by `attention_bias` on all four projections, always on q, k and v, or never */
  readonly attentionBias: 'field' | 'qkv' | 'never';
  readonly mlpBias: 'field' | 'never';
  /** RMSNorm of each head's query and key before they are rotated */
  readonly queryKeyNorm: boolean;
  /** which layers look at a window only */
  readonly window: 'none' | 'all' | 'from max_window_layers';
  /** what stands for an absent field; null derives it from others */
  readonly defaults: {
    readonly maxPositions: number;
    readonly keyValueHeads: number | null;
    readonly headDim: number | null;
  };
}

const QWEN: Pick<Family, 'mlpBias' | 'window'> = { mlpBias: 'never', window: 'from max_window_layers' };

export const FAMILIES: readonly Family[] = [
  {
    architecture: 'LlamaForCausalLM',
    modelType: 'llama',
    attentionBias: 'field',
    mlpBias: 'field',
    queryKeyNorm: false,
    window: 'none',
    defaults: { maxPositions: 2048, keyValueHeads: null, headDim: null },
  },
  {
    architecture: 'MistralForCausalLM',
    modelType: 'mistral',
    attentionBias: 'never',
    mlpBias: 'never',
    queryKeyNorm: false,
    window: 'all',
    defaults: { maxPositions: 131_072, keyValueHeads: 8, headDim: null },
  },
  {
    architecture: 'Qwen2ForCausalLM',
    modelType: 'qwen2',
    attentionBias: 'qkv',
    queryKeyNorm: false,
    defaults: { maxPositions: 32_768, keyValueHeads: 32, headDim: null },
    ...QWEN,
  },
  {
    architecture: 'Qwen3ForCausalLM',
    modelType: 'qwen3',
    attentionBias: 'field',
    queryKeyNorm: true,
    defaults: { maxPositions: 32_768, keyValueHeads: 32, headDim: 128 },
    ...QWEN,
  },
];

/**
 * The family that `architectures` and `model_type` name.
 * @throws {SwarmError} UNSUPPORTED_MODEL, naming the field
 */
export function familyOf(fields: Fields): Family {
  const { architectures, model_type: modelType } = fields;
  const known = FAMILIES.map(({ architecture }) => architecture).join(', ');
  if (architectures === undefined || architectures === null) {
    const byType = FAMILIES.find((family) => family.modelType === modelType);
    if (!byType) throw unsupported('architectures', architectures, `one of ${known}`);
    return byType;
  }
  const named = Array.isArray(architectures) && architectures.length === 1 ? architectures[0] : null;
  const family = FAMILIES.find(({ architecture }) => architecture === named);
  if (!family) throw unsupported('architectures', architectures, `one of ${known}`);
  if ((modelType ?? family.modelType) !== family.modelType) {
    throw unsupported('model_type', modelType, `"${family.modelType}", as the architecture says`);
  }
  return family;
}

/** Values that change nothing: absent, null, false, 0 and an empty list. */
const isOff = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  value === 0 ||
  (Array.isArray(value) && value.length === 0);
const isOffOrOne = (value: unknown): boolean => isOff(value) || value === 1;
const isAnyOf =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    value === undefined || value === null || values.includes(value);

interface Refusal {
  readonly fields: readonly string[];
  readonly isHarmless: (value: unknown) => boolean;
  readonly supported: string;
}

/** Fields of other models that people build on a Llama: each changes what is computed, unless it is harmless. */
export const REFUSALS: readonly Refusal[] = [
  {
    fields: ['hidden_act', 'hidden_activation', 'activation_function'],
    isHarmless: isAnyOf('silu', 'swish'),
    supported: '"silu"',
  },
  {
    fields: ['quantization_config', 'compression_config'],
    isHarmless: isOff,
    supported: 'none (weights in f32, f16 or bf16)',
  },
  {
    fields: [
      'num_local_experts',
      'num_experts',
      'n_routed_experts',
      'n_shared_experts',
      'num_experts_per_tok',
      'moe_intermediate_size',
      'shared_expert_intermediate_size',
    ],
    isHarmless: isOff,
    supported: 'none (one feed-forward network a layer, no experts)',
  },
  {
    fields: ['partial_rotary_factor', 'rotary_pct', 'rope_percent'],
    isHarmless: isAnyOf(1),
    supported: '1 (all dimensions are rotated)',
  },
  {
    fields: [
      'no_rope_layers',
      'no_rope_layer_interval',
      'use_mrope',
      'rope_interleave',
      'rope_interleaved',
      'use_alibi',
      'alibi',
    ],
    isHarmless: isOff,
    supported: 'none (rotary embedding of half-split pairs in every layer)',
  },
  {
    fields: ['position_embedding_type'],
    isHarmless: isAnyOf('rope', 'rotary', 'absolute'),
    supported: 'rotary embeddings',
  },
  {
    fields: ['attention_multiplier', 'query_pre_attn_scalar', 'attention_scale'],
    isHarmless: isOff,
    supported: 'none (scores are scaled by 1/√head_dim)',
  },
  {
    fields: [
      'embedding_multiplier',
      'residual_multiplier',
      'logits_scaling',
      'logit_scale',
      'scale_emb',
      'lm_head_multiplier',
    ],
    isHarmless: isOffOrOne,
    supported: '1',
  },
  {
    fields: ['scale_depth', 'dim_model_base', 'mup_width_multiplier', 'mup_base_width'],
    isHarmless: isOff,
    supported: 'none',
  },
  {
    fields: ['final_logit_softcapping', 'attn_logit_softcapping', 'clip_qkv', 'qkv_clip'],
    isHarmless: isOff,
    supported: 'none (nothing is capped)',
  },
  {
    fields: ['qk_layernorm', 'use_qk_norm', 'qk_norm', 'use_sandwich_norm', 'add_unit_offset'],
    isHarmless: isOff,
    supported: 'the norms of the architecture that it names',
  },
  {
    fields: [
      'parallel_attn',
      'use_parallel_residual',
      'attention_chunk_size',
      'attention_sinks',
      'use_attention_sinks',
    ],
    isHarmless: isOff,
    supported: 'none (full causal attention, then the feed-forward network)',
  },
  {
    fields: ['q_lora_rank', 'kv_lora_rank', 'v_head_dim', 'qk_rope_head_dim', 'qk_nope_head_dim'],
    isHarmless: isOff,
    supported: 'none (no latent attention)',
  },
  {
    fields: ['is_encoder_decoder', 'add_cross_attention', 'use_bidirectional_attention', 'bidirectional'],
    isHarmless: isOff,
    supported: 'false (a causal decoder)',
  },
  { fields: ['is_causal'], isHarmless: isAnyOf(true), supported: 'true (a causal decoder)' },
  {
    fields: ['num_nextn_predict_layers', 'num_kv_shared_layers', 'per_layer_config', 'num_loops'],
    isHarmless: isOff,
    supported: 'none (equal layers, each run once)',
  },
  {
    fields: ['vision_config', 'audio_config', 'text_config', 'encoder_config'],
    isHarmless: isOff,
    supported: 'none (a text model by itself)',
  },
];

/** Refuses what the graphs do not compute. @throws {SwarmError} UNSUPPORTED_MODEL, naming the field */
export function refuseOtherModels(fields: Fields, family: Family): void {
  for (const { fields: names, isHarmless, supported } of REFUSALS) {
    for (const name of names) if (!isHarmless(fields[name])) throw unsupported(name, fields[name], supported);
  }
  if (family.attentionBias === 'never' && !isOff(fields.attention_bias)) {
    throw unsupported('attention_bias', fields.attention_bias, `false in a ${family.architecture}`);
  }
  if (family.mlpBias === 'never' && !isOff(fields.mlp_bias)) {
    throw unsupported('mlp_bias', fields.mlp_bias, `false in a ${family.architecture}`);
  }
}

/** The window that transformers takes where a config names none. */
const DEFAULT_WINDOW = 4096;

/**
 * Refuses a sliding window that hides anything: one that is on, in some layer, and shorter than the longest sequence.
 * @throws {SwarmError} UNSUPPORTED_MODEL, naming the field
 */
export function refuseSlidingWindow(fields: Fields, family: Family, layers: number, maxPositions: number): void {
  const types = fields.layer_types ?? null;
  if (types !== null && !(Array.isArray(types) && types.every((kind) => kind === 'full_attention'))) {
    throw unsupported('layer_types', types, 'full_attention only');
  }
  if (family.window === 'from max_window_layers') {
    const isOn = flag(fields, 'use_sliding_window', false);
    // a list of layer types, by now all full, wins over the two counts
    const firstLayer = fields.max_window_layers === 0 ? 0 : size(fields, 'max_window_layers', 28);
    if (!isOn || types !== null || firstLayer >= layers) return;
  }
  if (family.window === 'none' && fields.use_sliding_window === false) return;
  const isAbsent = fields.sliding_window === undefined;
  const window = isAbsent && family.window !== 'none' ? DEFAULT_WINDOW : (fields.sliding_window ?? null);
  if (window === null || (typeof window === 'number' && window >= maxPositions)) return;
  throw unsupported(
    'sliding_window',
    isAbsent ? `absent, which means ${window}` : window,
    `null, or at least max_position_embeddings (${maxPositions})`,
  );
}
