// LoRA: projections W that stay as they are, and beside each a product B·A of low rank that learns.
// y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ with s = alpha/rank; published as W + s·B·A.
// Source: arXiv 2106.09685 §4.1; names of tensors, A uniform ±1/√in and B zero as PEFT's LoraLayer has them.
// Invariant: before the first step the policy is exactly the base.

import type { ModelConfig, TensorSpec } from '../node/model/config.ts';
import { requiredTensors } from '../node/model/config.ts';
import type { GraphBuilder } from '../node/model/graph/builder.ts';
import { gemm, mul } from '../node/model/graph/ops.ts';
import type { Value } from '../node/model/graph/value.ts';
import type { GraphWeights } from '../node/model/llama/layers.ts';
import { elementCount, type Weights, type WeightTensor } from '../node/model/weights.ts';
import type { RecipeLora } from '../recipes/sections.ts';
import { labelledStream } from './init-weights.ts';

export type LoraSettings = RecipeLora;

const downName = (projection: string): string => `${projection}.lora_A.weight`;
const upName = (projection: string): string => `${projection}.lora_B.weight`;
const scaleOf = ({ alpha, rank }: LoraSettings): number => alpha / rank;

/** `model.layers.0.self_attn.q_proj` of a weight that has an adapter, else null. */
function adaptedProjection(weight: string, { targets }: LoraSettings): string | null {
  const [, projection, kind] = /^(.*\.(\w+))\.weight$/.exec(weight) ?? [];
  return projection !== undefined && targets.some((target) => target === kind) ? projection : null;
}

/** Tensors of the adapters: A [rank, in] and B [out, rank] of each target. */
export function adapterTensors(config: ModelConfig, settings: LoraSettings): TensorSpec[] {
  return requiredTensors(config).flatMap(({ name, shape }) => {
    const projection = adaptedProjection(name, settings);
    if (projection === null) return [];
    const [out, into] = shape as [number, number];
    return [
      { name: downName(projection), shape: [settings.rank, into] },
      { name: upName(projection), shape: [out, settings.rank] },
    ];
  });
}

/** Adapters that change nothing yet. */
export function initAdapters(config: ModelConfig, settings: LoraSettings, seed: number): Weights {
  return new Map(
    adapterTensors(config, settings).map(({ name, shape }) => {
      const data = new Float32Array(elementCount(shape));
      if (!name.endsWith('.lora_A.weight')) return [name, { shape, data }];
      const draw = labelledStream(seed, name);
      const bound = 1 / Math.sqrt(shape[1]!);
      return [name, { shape, data: data.map(() => bound * (2 * draw.next() - 1)) }];
    }),
  );
}

/** Declares adapters as inputs and lets every projection that has one go through it too. */
export function withAdapters(
  graph: GraphBuilder,
  config: ModelConfig,
  base: GraphWeights,
  settings: LoraSettings,
): { readonly weights: GraphWeights; readonly adapters: ReadonlyMap<string, Value> } {
  const adapters = new Map(
    adapterTensors(config, settings).map(({ name, shape }) => [name, graph.input(name, 'float32', shape)]),
  );
  const adapt: GraphWeights['adapt'] = (projection, rows, residual) => {
    const [down, up] = [adapters.get(downName(projection)), adapters.get(upName(projection))];
    if (!down || !up) return undefined;
    const low = mul(gemm(rows, down, { transB: true }), scaleOf(settings));
    return gemm(low, up, { transB: true, ...(residual ? { bias: residual } : {}) });
  };
  const weights = { ...base, all: new Map([...base.all, ...adapters]), adapt };
  return { weights, adapters };
}

/** W + s·B·A where `name` has an adapter, else the base's own tensor. */
export function mergedTensor(
  name: string,
  base: WeightTensor,
  adapters: Pick<Weights, 'get'>,
  settings: LoraSettings,
): WeightTensor {
  const projection = adaptedProjection(name, settings);
  if (projection === null) return base;
  const [out, into] = base.shape as [number, number];
  const [down, up] = [adapters.get(downName(projection))!.data, adapters.get(upName(projection))!.data];
  const { rank } = settings;
  const data = base.data.slice();
  for (let i = 0; i < out; i++) {
    for (let r = 0; r < rank; r++) {
      const factor = scaleOf(settings) * up[i * rank + r]!;
      if (factor === 0) continue;
      for (let j = 0; j < into; j++) data[i * into + j] = data[i * into + j]! + factor * down[r * into + j]!;
    }
  }
  return { shape: base.shape, data };
}
