// The peer of training: ONNX Runtime's plain Gemm on the model's own layer shapes, forward and both backward products.
// Only a corner of each product leaves its session, so that what is timed is the product.

import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { ModelConfig } from '../../node/model/config.ts';
import { GraphBuilder } from '../../node/model/graph/builder.ts';
import { gemm, slice } from '../../node/model/graph/ops.ts';
import { finishGraph } from '../../node/model/llama/built-graph.ts';
import { randomNumbers } from '../support/random-model.ts';

/** A linear layer's matrix [out, in] and how often the model has it. */
interface LayerShape {
  readonly out: number;
  readonly in: number;
  readonly count: number;
}

/** Plain products of one training pass. */
export interface GemmPeer {
  /** Runs each distinct product once. @returns milliseconds and FLOPs that all of the model's products come to */
  run(): Promise<{ readonly milliseconds: number; readonly flops: number }>;
  release(): Promise<void>;
}

function layerShapes(config: ModelConfig): LayerShape[] {
  const { hiddenSize: d, intermediateSize: ff, layers, heads, keyValueHeads, headDim, vocabSize } = config;
  const all: LayerShape[] = [
    { out: heads * headDim, in: d, count: layers },
    { out: keyValueHeads * headDim, in: d, count: 2 * layers },
    { out: d, in: heads * headDim, count: layers },
    { out: ff, in: d, count: 2 * layers },
    { out: d, in: ff, count: layers },
    { out: vocabSize, in: d, count: 1 },
  ];
  const distinct = new Map<string, LayerShape>();
  for (const shape of all) {
    const key = `${shape.out}x${shape.in}`;
    distinct.set(key, { ...shape, count: shape.count + (distinct.get(key)?.count ?? 0) });
  }
  return [...distinct.values()];
}

type Transposes = { readonly transA?: boolean; readonly transB?: boolean };

async function product(
  left: readonly [number, number],
  right: readonly [number, number],
  transposes: Transposes,
  threads: number,
): Promise<{ run(): Promise<unknown>; release(): Promise<void> }> {
  const graph = new GraphBuilder('product');
  const y = gemm(graph.input('a', 'float32', left), graph.input('b', 'float32', right), transposes);
  graph.output('corner', slice(slice(y, 0, 0, 1), 1, 0, 1));
  const session = await InferenceSession.create(finishGraph(graph).model, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  const random = randomNumbers(left[0] + right[0]);
  const tensor = ([rows, columns]: readonly [number, number]): Tensor =>
    new Tensor(
      'float32',
      Float32Array.from({ length: rows * columns }, () => random() - 0.5),
      [rows, columns],
    );
  const feeds = { a: tensor(left), b: tensor(right) };
  return { run: () => session.run(feeds), release: () => session.release() };
}

/** @param tokens rows of a batch */
export async function createGemmPeer(config: ModelConfig, tokens: number, threads: number): Promise<GemmPeer> {
  const products: {
    readonly flops: number;
    readonly count: number;
    run(): Promise<unknown>;
    release(): Promise<void>;
  }[] = [];
  for (const { out, in: width, count } of layerShapes(config)) {
    const flops = 2 * tokens * out * width;
    const made = [
      await product([tokens, width], [out, width], { transB: true }, threads), // y = x·Wᵀ
      await product([tokens, out], [out, width], {}, threads), // ∂x = ∂y·W
      await product([tokens, out], [tokens, width], { transA: true }, threads), // ∂W = ∂yᵀ·x
    ];
    for (const each of made) products.push({ flops, count, ...each });
  }
  return {
    async run() {
      let milliseconds = 0;
      let flops = 0;
      for (const each of products) {
        const start = performance.now();
        await each.run();
        milliseconds += (performance.now() - start) * each.count;
        flops += each.flops * each.count;
      }
      return { milliseconds, flops };
    },
    release: async () => {
      for (const each of products) await each.release();
    },
  };
}
