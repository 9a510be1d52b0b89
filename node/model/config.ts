// A model's config.json in Hugging Face's form, both the older style (rope_theta, torch_dtype) and the newer
// (rope_parameters, dtype), read into the few fields that the graph builder uses.
// What the builder would compute wrongly is refused by name (families.ts); what changes nothing at inference is ignored.

import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { type Fields, flag, isFields, positive, size, unsupported } from './config-fields.ts';
import { type Architecture, type Family, familyOf, refuseOtherModels, refuseSlidingWindow } from './families.ts';
import { type RopeScaling, readRope } from './rope-scaling.ts';

/**
 * What the graphs of a policy are built from. All sizes are counts of values.
 * The optional fields are absent where a model does without, and so enter a hash only where they mean something.
 */
export interface ModelConfig {
  readonly architecture: Architecture;
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
  readonly ropeScaling?: RopeScaling;
  /** on q, k, v and o */
  readonly attentionBias: boolean;
  /** on q, k and v alone */
  readonly queryKeyValueBias?: true;
  /** RMSNorm of each head's query and key before they are rotated */
  readonly queryKeyNorm?: true;
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

const MAX_LAYERS = 1024;

function tokenId(value: unknown, field: string, vocabSize: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= vocabSize) {
    throw unsupported(field, value, `a token id under ${vocabSize}`);
  }
  return value;
}

type HeadCounts = Pick<ModelConfig, 'hiddenSize' | 'heads' | 'keyValueHeads' | 'headDim'>;

function headCounts(json: Fields, { defaults }: Family): HeadCounts {
  const hiddenSize = size(json, 'hidden_size');
  const heads = size(json, 'num_attention_heads');
  // null stands for as many as there are queries; an absent field for the family's number
  const keyValueDefault = json.num_key_value_heads === null ? heads : (defaults.keyValueHeads ?? heads);
  const keyValueHeads = size(json, 'num_key_value_heads', keyValueDefault);
  if (heads % keyValueHeads !== 0) throw unsupported('num_key_value_heads', keyValueHeads, `a divisor of ${heads}`);
  const isDerived = (json.head_dim ?? defaults.headDim) === null;
  if (isDerived && hiddenSize % heads !== 0) {
    throw unsupported('hidden_size', hiddenSize, `a multiple of num_attention_heads (${heads})`);
  }
  const headDim = size(json, 'head_dim', defaults.headDim ?? hiddenSize / heads);
  if (headDim % 2 !== 0) throw unsupported('head_dim', headDim, 'an even number');
  return { hiddenSize, heads, keyValueHeads, headDim };
}

/**
 * Reads config.json.
 * @param json the parsed file
 * @throws {SwarmError} UNSUPPORTED_MODEL, naming the field
 */
export function parseModelConfig(json: unknown): ModelConfig {
  if (!isFields(json)) throw unsupported('the file', json, 'a JSON object');
  const family = familyOf(json);
  refuseOtherModels(json, family);
  const layers = size(json, 'num_hidden_layers', undefined, MAX_LAYERS);
  const maxPositions = size(json, 'max_position_embeddings', family.defaults.maxPositions);
  refuseSlidingWindow(json, family, layers, maxPositions);
  const vocabSize = size(json, 'vocab_size');
  const eos = json.eos_token_id ?? [];
  const bos = json.bos_token_id ?? null;
  return {
    architecture: family.architecture,
    ...headCounts(json, family),
    intermediateSize: size(json, 'intermediate_size'),
    layers,
    vocabSize,
    maxPositions,
    rmsNormEps: positive(json, 'rms_norm_eps', 1e-6),
    ...readRope(json, maxPositions),
    attentionBias: family.attentionBias === 'field' && flag(json, 'attention_bias', false),
    ...(family.attentionBias === 'qkv' ? { queryKeyValueBias: true } : {}),
    ...(family.queryKeyNorm ? { queryKeyNorm: true } : {}),
    mlpBias: family.mlpBias === 'field' && flag(json, 'mlp_bias', false),
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
  const isInputBiased = config.attentionBias || config.queryKeyValueBias === true;
  const specs: TensorSpec[] = [{ name: 'model.embed_tokens.weight', shape: [vocabSize, d] }];
  const linear = (name: string, out: number, into: number, bias: boolean): void => {
    specs.push({ name: `${name}.weight`, shape: [out, into] });
    if (bias) specs.push({ name: `${name}.bias`, shape: [out] });
  };
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    specs.push({ name: `${at}.input_layernorm.weight`, shape: [d] });
    linear(`${at}.self_attn.q_proj`, queries, d, isInputBiased);
    linear(`${at}.self_attn.k_proj`, keys, d, isInputBiased);
    linear(`${at}.self_attn.v_proj`, keys, d, isInputBiased);
    linear(`${at}.self_attn.o_proj`, d, queries, config.attentionBias);
    if (config.queryKeyNorm) {
      specs.push({ name: `${at}.self_attn.q_norm.weight`, shape: [config.headDim] });
      specs.push({ name: `${at}.self_attn.k_norm.weight`, shape: [config.headDim] });
    }
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

/** How many parameters a model of this config has; a tied head counts once. */
export function parametersOf(config: ModelConfig): number {
  return requiredTensors(config).reduce(
    (sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1),
    0,
  );
}
