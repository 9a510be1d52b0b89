// The peer of training: ONNX Runtime's plain Gemm on the model's own layer shapes, forward and both backward products, as one
// session runs them one after the other. Only a corner of each product leaves the session, so that what is timed is products.

import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { ModelConfig } from '../../node/model/config.ts';
import { GraphBuilder } from '../../node/model/graph/builder.ts';
import { gemm, slice } from '../../node/model/graph/ops.ts';
import type { Value } from '../../node/model/graph/value.ts';
import { finishGraph } from '../../node/model/llama/built-graph.ts';
import { randomNumbers } from '../support/random-model.ts';

/** A linear layer's matrix [out, in]. */
type Matrix = readonly [out: number, into: number];

/** Plain products of one training pass. */
export interface GemmPeer {
  /** @returns milliseconds and FLOPs that all of the model's products come to, one layer's times their number */
  run(): Promise<{ readonly milliseconds: number; readonly flops: number }>;
  release(): Promise<void>;
}

function layerMatrices({ hiddenSize: d, intermediateSize: ff, heads, keyValueHeads, headDim }: ModelConfig): Matrix[] {
  const [queries, keys] = [heads * headDim, keyValueHeads * headDim];
  return [
    [queries, d],
    [keys, d],
    [keys, d],
    [d, queries],
    [ff, d],
    [ff, d],
    [d, ff],
  ];
}

async function productsOf(matrices: readonly Matrix[], tokens: number, threads: number) {
  const graph = new GraphBuilder('products');
  const random = randomNumbers(1);
  const buffers = new Map<number, Float32Array>();
  const feeds: Record<string, Tensor> = {};
  // Every operand is an input of its own, so that no product is taken for another; those of one size share their memory.
  const operand = (rows: number, columns: number): Value => {
    const size = rows * columns;
    const data = buffers.get(size) ?? Float32Array.from({ length: size }, () => random() - 0.5);
    buffers.set(size, data);
    const name = `operand.${graph.inputs.length}`;
    feeds[name] = new Tensor('float32', data, [rows, columns]);
    return graph.input(name, 'float32', [rows, columns]);
  };
  let flops = 0;
  for (const [out, into] of matrices) {
    const products = [
      gemm(operand(tokens, into), operand(out, into), { transB: true }), // y = x·Wᵀ
      gemm(operand(tokens, out), operand(out, into)), // ∂x = ∂y·W
      gemm(operand(tokens, out), operand(tokens, into), { transA: true }), // ∂W = ∂yᵀ·x
    ];
    for (const y of products) graph.output(`corner.${graph.outputs.length}`, slice(slice(y, 0, 0, 1), 1, 0, 1));
    flops += 3 * 2 * tokens * out * into;
  }
  const session = await InferenceSession.create(finishGraph(graph).model, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  return { flops, run: () => session.run(feeds), release: () => session.release() };
}

/** @param tokens rows of a micro-batch */
export async function createGemmPeer(config: ModelConfig, tokens: number, threads: number): Promise<GemmPeer> {
  const layer = await productsOf(layerMatrices(config), tokens, threads);
  const head = await productsOf([[config.vocabSize, config.hiddenSize]], tokens, threads);
  await layer.run();
  await head.run();
  return {
    async run() {
      const start = performance.now();
      await layer.run();
      const middle = performance.now();
      await head.run();
      const milliseconds = config.layers * (middle - start) + performance.now() - middle;
      return { milliseconds, flops: config.layers * layer.flops + head.flops };
    },
    release: async () => {
      await layer.release();
      await head.release();
    },
  };
}
