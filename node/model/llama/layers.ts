// The parts of a decoder that the decode graph and the whole-sequence graphs share. All activations are matrices
// [rows, width], one row a token; weights are graph inputs under Hugging Face's names, matrices [out, in].
// Source: transformers' modeling_llama.py (RMSNorm, rotary embedding with half-split pairs, SwiGLU), modeling_qwen3.py
// (norms of queries and keys); a config says which of them a model has.

import { type ModelConfig, requiredTensors } from '../config.ts';
import type { GraphBuilder } from '../graph/builder.ts';
import type { Shape } from '../graph/dim.ts';
import { GraphError } from '../graph/error.ts';
import { add, gather, gemm, mul, reshape, rmsNorm, rotaryEmbedding, silu } from '../graph/ops.ts';
import type { Value } from '../graph/value.ts';
import { attentionFactor, rotaryAngles } from './rope.ts';

/** A model's weights inside one graph. */
export interface GraphWeights {
  readonly all: ReadonlyMap<string, Value>;
  /** @throws {GraphError} GRAPH_UNKNOWN_TENSOR */
  get(name: string): Value;
  /** the bias of a projection, where the config has one */
  find(name: string): Value | undefined;
  /** what an adapter adds to a projection of `rows`, the residual included; undefined where it has none */
  adapt?(name: string, rows: Value, residual: Value | undefined): Value | undefined;
}

/** Declares every tensor of the config as a float32 input. */
export function declareWeights(graph: GraphBuilder, config: ModelConfig): GraphWeights {
  const all = new Map(requiredTensors(config).map(({ name, shape }) => [name, graph.input(name, 'float32', shape)]));
  return {
    all,
    find: (name) => all.get(name),
    get: (name) => {
      const value = all.get(name);
      if (!value)
        throw new GraphError(
          'GRAPH_UNKNOWN_TENSOR',
          `the config requires no tensor ${name}; known: ${[...all.keys()].join(', ')}`,
        );
      return value;
    },
  };
}

/** Added to scores and logits of what must not be seen; finite, so that no row becomes NaN, and e^(it) is 0 in float32. */
export const MASKED_SCORE = -1e9;

export interface RotaryTables {
  readonly cos: Value;
  readonly sin: Value;
}

/**
 * cos and sin of the angles of all of the config's positions (see forTokens), times YaRN's attention factor,
 * [positions, headDim/2].
 */
export function rotaryTables(graph: GraphBuilder, config: ModelConfig): RotaryTables {
  return scaledTables(graph, config, 1);
}

/** The same, times a factor: rotating with them rotates and scales. */
export function scaledTables(graph: GraphBuilder, config: ModelConfig, scale: number): RotaryTables {
  const shape = [config.maxPositions, config.headDim / 2] as const;
  const angles = rotaryAngles(config, shape[0]);
  const factor = scale * attentionFactor(config);
  const table = (f: (angle: number) => number): Value =>
    graph.constant(
      angles.map((angle) => factor * f(angle)),
      shape,
    );
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** Where tokens are: rotates projections of all rows by their positions. */
export interface Placement {
  /** the shape in which rows of so many heads are rotated: [batch, tokens, width] or [batch, heads, tokens, headDim] */
  readonly rotated: (heads: number) => Shape;
  /** int64[batch, tokens], or int64[1] */
  readonly positions: Value;
  readonly tables: RotaryTables;
  /** for the queries, where they are scaled as they are rotated */
  readonly queryTables?: RotaryTables;
}

/** x [rows, out] = rows · Wᵀ (+ bias) (+ residual), the residual inside the same Gemm where there is no bias. */
export function linear(weights: GraphWeights, name: string, rows: Value, residual?: Value): Value {
  const weight = weights.get(`${name}.weight`);
  const bias = weights.find(`${name}.bias`);
  const added = weights.adapt?.(name, rows, residual) ?? residual;
  if (bias) {
    const projected = gemm(rows, weight, { transB: true, bias });
    return added ? add(added, projected) : projected;
  }
  return gemm(rows, weight, { transB: true, ...(added ? { bias: added } : {}) });
}

/** Token ids int32[...] to rows [rows, d]. */
export function embed(weights: GraphWeights, ids: Value, rows: Shape): Value {
  return gather(weights.get('model.embed_tokens.weight'), reshape(ids, rows));
}

export function norm(weights: GraphWeights, config: ModelConfig, name: string, rows: Value): Value {
  return rmsNorm(rows, weights.get(`${name}.weight`), config.rmsNormEps).y;
}

export interface Projections {
  /** rotated; in the shape that the placement gives for heads */
  readonly query: Value;
  /** rotated; in the shape that the placement gives for kvHeads */
  readonly key: Value;
  /** [rows, kvHeads·headDim] */
  readonly value: Value;
}

export function projections(
  weights: GraphWeights,
  config: ModelConfig,
  layer: number,
  rows: Value,
  placement: Placement,
): Projections {
  const at = `model.layers.${layer}.self_attn`;
  const { rotated, positions, tables, queryTables = tables } = placement;
  const rotate = (x: Value, heads: number, { cos, sin }: RotaryTables): Value =>
    rotaryEmbedding(reshape(x, rotated(heads)), positions, cos, sin);
  const query = headNorm(weights, config, `${at}.q_norm`, linear(weights, `${at}.q_proj`, rows));
  const key = headNorm(weights, config, `${at}.k_norm`, linear(weights, `${at}.k_proj`, rows));
  return {
    query: rotate(query, config.heads, queryTables),
    key: rotate(key, config.keyValueHeads, tables),
    value: linear(weights, `${at}.v_proj`, rows),
  };
}

/** RMSNorm of each head of [rows, heads·headDim], where the config has it. */
function headNorm(weights: GraphWeights, config: ModelConfig, name: string, x: Value): Value {
  if (!config.queryKeyNorm) return x;
  const heads = (x.shape[1] as number) / config.headDim;
  const normed = norm(weights, config, name, reshape(x, [x.shape[0]!, heads, config.headDim]));
  return reshape(normed, x.shape);
}

/** rows + down(silu(gate(n)) ∘ up(n)), n the normed rows. */
export function feedForward(weights: GraphWeights, config: ModelConfig, layer: number, rows: Value): Value {
  const at = `model.layers.${layer}`;
  const normed = norm(weights, config, `${at}.post_attention_layernorm`, rows);
  const gate = silu(linear(weights, `${at}.mlp.gate_proj`, normed));
  const inner = mul(gate, linear(weights, `${at}.mlp.up_proj`, normed));
  return linear(weights, `${at}.mlp.down_proj`, inner, rows);
}

/** The matrix [vocabulary, d] that turns hidden states into logits. */
export function headWeight(weights: GraphWeights, config: ModelConfig): Value {
  return weights.get(config.tiedHead ? 'model.embed_tokens.weight' : 'lm_head.weight');
}
