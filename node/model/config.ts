// A model's config.json in Hugging Face's form, both the older style (rope_theta, torch_dtype) and the newer
// (rope_parameters, dtype), read into the few fields that the graph builder uses.
// What the builder would compute wrongly is refused by name; fields that change nothing at inference are ignored.

import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { SwarmError } from '../protocol/errors.ts';

/** What the graphs of a policy are built from. All sizes are counts of values. */
export interface ModelConfig {
  readonly architecture: 'LlamaForCausalLM';
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly tiedHead: boolean;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
}

/** A tensor that a config requires. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Largest value taken for any size: a config comes from strangers, and sizes multiply. */
const MAX_SIZE = 1 << 24;
const MAX_LAYERS = 1024;

type Fields = Readonly<Record<string, unknown>>;

function unsupported(field: string, got: unknown, supported: string): SwarmError {
  const shown = JSON.stringify(got) ?? 'nothing';
  return new SwarmError(
    'UNSUPPORTED_MODEL',
    `config.json: ${field} is ${shown.slice(0, 80)}; supported: ${supported}. Choose another model.`,
    { field },
  );
}

function size(fields: Fields, field: string, fallback?: number, max: number = MAX_SIZE): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max) {
    throw unsupported(field, fields[field], `an integer from 1 to ${max}`);
  }
  return value;
}

function positive(fields: Fields, field: string, fallback: number, name: string = field): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) {
    throw unsupported(name, fields[field], 'a positive number');
  }
  return value;
}

function flag(fields: Fields, field: string, fallback: boolean): boolean {
  const value = fields[field] ?? fallback;
  if (typeof value !== 'boolean') throw unsupported(field, value, 'true or false');
  return value;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Rotary base; every scaling but the default is refused, since positions would be rotated wrongly. */
function ropeTheta(fields: Fields): number {
  const scaling = fields.rope_scaling ?? null;
  if (scaling !== null) {
    const kind = isFields(scaling) ? (scaling.rope_type ?? scaling.type) : scaling;
    if (kind !== 'default') throw unsupported('rope_scaling', scaling, 'null or the default');
  }
  const parameters = fields.rope_parameters ?? null;
  if (parameters === null) return positive(fields, 'rope_theta', 10_000);
  if (!isFields(parameters)) throw unsupported('rope_parameters', parameters, 'an object');
  if ((parameters.rope_type ?? 'default') !== 'default')
    throw unsupported('rope_parameters', parameters, 'rope_type default');
  if ((parameters.partial_rotary_factor ?? 1) !== 1) {
    throw unsupported('rope_parameters.partial_rotary_factor', parameters.partial_rotary_factor, '1');
  }
  return positive(parameters, 'rope_theta', positive(fields, 'rope_theta', 10_000), 'rope_parameters.rope_theta');
}

/** Refuses what the Llama graph does not compute. */
function refuseUnknownVariants(fields: Fields): void {
  const architectures = fields.architectures ?? (fields.model_type === 'llama' ? ['LlamaForCausalLM'] : null);
  if (!Array.isArray(architectures) || architectures.length !== 1 || architectures[0] !== 'LlamaForCausalLM') {
    throw unsupported('architectures', fields.architectures, '["LlamaForCausalLM"]');
  }
  if ((fields.model_type ?? 'llama') !== 'llama') throw unsupported('model_type', fields.model_type, '"llama"');
  if ((fields.hidden_act ?? 'silu') !== 'silu') throw unsupported('hidden_act', fields.hidden_act, '"silu"');
  if ((fields.quantization_config ?? null) !== null) {
    throw unsupported('quantization_config', fields.quantization_config, 'none (weights in f32, f16 or bf16)');
  }
  if ((fields.sliding_window ?? null) !== null && fields.use_sliding_window !== false) {
    throw unsupported('sliding_window', fields.sliding_window, 'null (full attention)');
  }
  const layerTypes = fields.layer_types ?? null;
  if (layerTypes !== null && !(Array.isArray(layerTypes) && layerTypes.every((kind) => kind === 'full_attention'))) {
    throw unsupported('layer_types', layerTypes, 'full_attention only');
  }
  if ((fields.partial_rotary_factor ?? 1) !== 1)
    throw unsupported('partial_rotary_factor', fields.partial_rotary_factor, '1');
}

function tokenId(value: unknown, field: string, vocabSize: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= vocabSize) {
    throw unsupported(field, value, `a token id under ${vocabSize}`);
  }
  return value;
}

/**
 * Reads config.json.
 * @param json the parsed file
 * @throws {SwarmError} UNSUPPORTED_MODEL, naming the field
 */
export function parseModelConfig(json: unknown): ModelConfig {
  if (!isFields(json)) throw unsupported('the file', json, 'a JSON object');
  refuseUnknownVariants(json);
  const hiddenSize = size(json, 'hidden_size');
  const heads = size(json, 'num_attention_heads');
  const keyValueHeads = size(json, 'num_key_value_heads', heads);
  if (heads % keyValueHeads !== 0) throw unsupported('num_key_value_heads', keyValueHeads, `a divisor of ${heads}`);
  if ((json.head_dim ?? null) === null && hiddenSize % heads !== 0) {
    throw unsupported('hidden_size', hiddenSize, `a multiple of num_attention_heads (${heads})`);
  }
  const headDim = size(json, 'head_dim', hiddenSize / heads);
  if (headDim % 2 !== 0) throw unsupported('head_dim', headDim, 'an even number');
  const vocabSize = size(json, 'vocab_size');
  const eos = json.eos_token_id ?? [];
  const bos = json.bos_token_id ?? null;
  return {
    architecture: 'LlamaForCausalLM',
    hiddenSize,
    intermediateSize: size(json, 'intermediate_size'),
    layers: size(json, 'num_hidden_layers', undefined, MAX_LAYERS),
    heads,
    keyValueHeads,
    headDim,
    vocabSize,
    maxPositions: size(json, 'max_position_embeddings', 2048),
    rmsNormEps: positive(json, 'rms_norm_eps', 1e-6),
    ropeTheta: ropeTheta(json),
    attentionBias: flag(json, 'attention_bias', false),
    mlpBias: flag(json, 'mlp_bias', false),
    tiedHead: flag(json, 'tie_word_embeddings', false),
    bosTokenId: bos === null ? null : tokenId(bos, 'bos_token_id', vocabSize),
    eosTokenIds: (Array.isArray(eos) ? eos : [eos]).map((id) => tokenId(id, 'eos_token_id', vocabSize)),
  };
}

/**
 * The tensors that a config requires, under Hugging Face's names; matrices are [out, in].
 * A tied head is listed once, as `model.embed_tokens.weight`.
 */
export function requiredTensors(config: ModelConfig): TensorSpec[] {
  const { hiddenSize: d, intermediateSize: ff, vocabSize } = config;
  const queries = config.heads * config.headDim;
  const keys = config.keyValueHeads * config.headDim;
  const specs: TensorSpec[] = [{ name: 'model.embed_tokens.weight', shape: [vocabSize, d] }];
  const linear = (name: string, out: number, into: number, bias: boolean): void => {
    specs.push({ name: `${name}.weight`, shape: [out, into] });
    if (bias) specs.push({ name: `${name}.bias`, shape: [out] });
  };
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    specs.push({ name: `${at}.input_layernorm.weight`, shape: [d] });
    linear(`${at}.self_attn.q_proj`, queries, d, config.attentionBias);
    linear(`${at}.self_attn.k_proj`, keys, d, config.attentionBias);
    linear(`${at}.self_attn.v_proj`, keys, d, config.attentionBias);
    linear(`${at}.self_attn.o_proj`, d, queries, config.attentionBias);
    specs.push({ name: `${at}.post_attention_layernorm.weight`, shape: [d] });
    linear(`${at}.mlp.gate_proj`, ff, d, config.mlpBias);
    linear(`${at}.mlp.up_proj`, ff, d, config.mlpBias);
    linear(`${at}.mlp.down_proj`, d, ff, config.mlpBias);
  }
  specs.push({ name: 'model.norm.weight', shape: [d] });
  if (!config.tiedHead) specs.push({ name: 'lm_head.weight', shape: [vocabSize, d] });
  return specs;
}

/**
 * SHA-256 of the RFC 8785 form of the fields that the graph builder reads (spec/wire.md), defaults filled in, so that
 * the older and the newer style of one model hash alike. End tokens are the recipe's and stay out.
 * @param json the parsed config.json
 */
export function configHash(json: unknown): Uint8Array {
  const { bosTokenId: _bos, eosTokenIds: _eos, ...read } = parseModelConfig(json);
  return createHash('sha256')
    .update(canonicalize(read) as string)
    .digest();
}

/** What tells two graphs apart: equal keys, equal graphs. */
export function graphKey(config: ModelConfig): string {
  const { bosTokenId: _bos, eosTokenIds: _eos, ...read } = config;
  return canonicalize(read) as string;
}
