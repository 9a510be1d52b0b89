// Runs a built graph in ONNX Runtime on the CPU, for tests: one thread, no spinning, feeds as plain typed arrays.

import * as ort from 'onnxruntime-node';
import type { GraphBuilder } from '../../node/model/graph/builder.ts';
import { encodeModel } from '../../node/model/graph/encode.ts';

export type Feed = ort.Tensor;
export type Results = Readonly<Record<string, ort.Tensor>>;

export const SESSION_OPTIONS: ort.InferenceSession.SessionOptions = {
  executionProviders: ['cpu'],
  intraOpNumThreads: 1,
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
};

export function float32(data: Float32Array | readonly number[], shape: readonly number[]): Feed {
  return new ort.Tensor('float32', Float32Array.from(data), shape);
}

export function int32(data: Int32Array | readonly number[], shape: readonly number[]): Feed {
  return new ort.Tensor('int32', Int32Array.from(data), shape);
}

export function session(model: Uint8Array): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(model, SESSION_OPTIONS);
}

/** Builds a session, runs it once, releases it. */
export async function runGraph(graph: GraphBuilder, feeds: Readonly<Record<string, Feed>>): Promise<Results> {
  const runner = await session(encodeModel(graph));
  try {
    return await runner.run(feeds);
  } finally {
    await runner.release();
  }
}

export function values(tensor: ort.Tensor | undefined): number[] {
  return Array.from(tensor!.data as Iterable<number | bigint>, Number);
}
