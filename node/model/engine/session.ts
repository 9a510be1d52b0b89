// One ONNX Runtime session of a built graph. Its pool never spins while it waits: several roles share a machine
// (spec: design.md, "Threads that wait must not spin"). It keeps no arena and no memory patterns: shapes change with every
// batch, and each new one would add to both. Synchronous inside: only ever used in a worker thread or a test.

import { InferenceSession, Tensor } from 'onnxruntime-node';
import { errorText, SwarmError } from '../../protocol/errors.ts';
import type { BuiltGraph } from '../llama/built-graph.ts';
import type { Weights } from '../weights.ts';

/** Tensors by graph input (or output) name. */
export type Tensors = Readonly<Record<string, Tensor>>;

export interface GraphSession {
  /** @throws {SwarmError} ENGINE_FAILED */
  run(feeds: Tensors): Promise<Tensors>;
  dispose(): Promise<void>;
}

/** float32 input over an array that stays the caller's: fed without a copy. */
export function floatTensor(data: Float32Array, shape: readonly number[]): Tensor {
  return new Tensor('float32', data, [...shape]);
}

export function intTensor(data: Int32Array, shape: readonly number[]): Tensor {
  return new Tensor('int32', data, [...shape]);
}

/** The float32 values of an output. */
export function floatsOf(tensors: Tensors, name: string): Float32Array {
  return tensors[name]!.data as Float32Array;
}

/** Weights as feeds, made once a policy: the arrays are read at each run, so they may be updated in place. */
export function weightFeeds(weights: Weights): Tensors {
  const feeds: Record<string, Tensor> = {};
  for (const [name, { shape, data }] of weights) feeds[name] = floatTensor(data, shape);
  return feeds;
}

function failed(what: string, cause: unknown): SwarmError {
  return new SwarmError('ENGINE_FAILED', `ONNX Runtime cannot ${what}: ${errorText(cause)}`, {}, { cause });
}

/**
 * A CPU session of the graph.
 * @param threads of ONNX Runtime's pool, the caller's own included
 * @throws {SwarmError} ENGINE_FAILED
 */
export async function createGraphSession(graph: BuiltGraph, threads: number): Promise<GraphSession> {
  const session = await InferenceSession.create(graph.model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    enableCpuMemArena: false,
    enableMemPattern: false,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  }).catch((cause: unknown) => {
    throw failed('build a session', cause);
  });
  const outputs = graph.outputs.map(({ name }) => name);
  return {
    run: async (feeds) => {
      try {
        return (await session.run(feeds, outputs)) as Tensors;
      } catch (cause) {
        throw failed('run a model graph', cause);
      }
    },
    dispose: () => session.release(),
  };
}
