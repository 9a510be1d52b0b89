// Small models of every family with random weights, and their config.json: for tests and for measuring speed.

import { type ModelConfig, parseModelConfig, requiredTensors } from '../../node/model/config.ts';
import { type Architecture, FAMILIES } from '../../node/model/families.ts';
import { elementCount, type Weights } from '../../node/model/weights.ts';

export interface RandomModel {
  readonly config: ModelConfig;
  readonly configJson: string;
  readonly weights: Weights;
}

export interface RandomModelShape {
  readonly architecture: Architecture;
  /** config.json's rope_scaling */
  readonly ropeScaling: Readonly<Record<string, unknown>> | null;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly tiedHead: boolean;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
}

const SMALL: RandomModelShape = {
  architecture: 'LlamaForCausalLM',
  ropeScaling: null,
  hiddenSize: 16,
  intermediateSize: 24,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headDim: 4,
  vocabSize: 24,
  maxPositions: 256,
  tiedHead: true,
  attentionBias: false,
  mlpBias: false,
};

/** Uniform numbers in [0, 1) by mulberry32: enough for weights, equal on every machine. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Weights large enough that tokens have clearly unlike probabilities; norms near 1. */
export function randomModel(shape: Partial<RandomModelShape> = {}, seed: number = 1): RandomModel {
  const full = { ...SMALL, ...shape };
  const { modelType } = FAMILIES.find(({ architecture }) => architecture === full.architecture)!;
  const json = {
    architectures: [full.architecture],
    model_type: modelType,
    hidden_act: 'silu',
    hidden_size: full.hiddenSize,
    intermediate_size: full.intermediateSize,
    num_hidden_layers: full.layers,
    num_attention_heads: full.heads,
    num_key_value_heads: full.keyValueHeads,
    head_dim: full.headDim,
    vocab_size: full.vocabSize,
    max_position_embeddings: full.maxPositions,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    rope_scaling: full.ropeScaling,
    sliding_window: null,
    tie_word_embeddings: full.tiedHead,
    attention_bias: full.attentionBias,
    mlp_bias: full.mlpBias,
    bos_token_id: 0,
    eos_token_id: 1,
  };
  const config = parseModelConfig(json);
  const random = randomNumbers(seed);
  const weights = new Map(
    requiredTensors(config).map(({ name, shape: dimensions }) => {
      const isNorm = name.includes('norm');
      const scale = isNorm ? 0.2 : 2.5 / Math.sqrt(dimensions.at(-1)!);
      const data = new Float32Array(elementCount(dimensions));
      // a plain loop: models of half a billion values are made with it
      for (let i = 0; i < data.length; i++) data[i] = (isNorm ? 1 : 0) + scale * (2 * random() - 1);
      return [name, { shape: dimensions, data }] as const;
    }),
  );
  return { config, configJson: JSON.stringify(json), weights };
}
