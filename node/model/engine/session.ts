// One session of a built graph, on the device that its placement names. Weights are inputs: feeding them copies nothing, and
// a policy's change builds nothing. Or the graph is bound to a policy's weights as it comes. A GPU always binds, since fed
// weights would travel at every run (design.md "Any vendor's GPU"), and the newest two bindings are kept. On the CPU a bound
// graph holds a second copy, laid out for its kernels: a decode step takes 0.5…0.9 of the time (measured).
// Synchronous inside: only ever used in a worker thread or a test.

import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { errorText, SwarmError } from '../../protocol/errors.ts';
import type { Placement } from '../device.ts';
import { bindInputs } from '../graph/bind.ts';
import type { BuiltGraph } from '../llama/built-graph.ts';
import type { Weights } from '../weights.ts';
import { modelFor, openSession } from './open-session.ts';

/** Tensors by graph input (or output) name. */
export type Tensors = Readonly<Record<string, Tensor>>;

export interface GraphSession {
  /**
   * @param feeds what changes from run to run
   * @param weights a policy's tensors: the same object for the same policy; what the graph does not read is left out
   * @throws {SwarmError} ENGINE_FAILED
   */
  run(feeds: Tensors, weights?: Tensors): Promise<Tensors>;
  dispose(): Promise<void>;
}

/** Policies that a GPU's session is bound to at once: the one in use, and the one before or after it. On the CPU: one. */
const MAX_GPU_BINDINGS = 2;

/** How a graph on the CPU gets its weights. */
export type WeightsBinding = 'fed' | 'bound';

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

type Run = (session: InferenceSession, feeds: Tensors) => Promise<Tensors>;

function runner(graph: BuiltGraph): Run {
  const outputs = graph.outputs.map(({ name }) => name);
  return async (session, feeds) => {
    try {
      return (await session.run(feeds, outputs)) as Tensors;
    } catch (cause) {
      const message = `ONNX Runtime cannot run a model graph: ${errorText(cause)}`;
      throw new SwarmError('ENGINE_FAILED', message, {}, { cause });
    }
  };
}

/**
 * A session of the graph.
 * @param binding `bound` for a graph that runs often with the same weights, where there is memory for a copy of them
 * @param keptOnDevice outputs that stay in a WebGPU device's memory, for a next run; the caller disposes of them
 * @throws {SwarmError} DEVICE_UNAVAILABLE, ENGINE_FAILED
 */
export async function createGraphSession(
  graph: BuiltGraph,
  placement: Placement,
  binding: WeightsBinding = 'fed',
  keptOnDevice: readonly string[] = [],
): Promise<GraphSession> {
  const isCpu = (placement.device ?? 'cpu') === 'cpu';
  if (isCpu && binding === 'fed') return createFedSession(graph, placement);
  const locations = Object.fromEntries(keptOnDevice.map((name) => [name, 'gpu-buffer'] as const));
  return createBoundSession(graph, placement, isCpu ? 1 : MAX_GPU_BINDINGS, locations);
}

async function createFedSession(graph: BuiltGraph, placement: Placement): Promise<GraphSession> {
  const session = await openSession(modelFor(graph, placement.device), placement);
  const run = runner(graph);
  return {
    run: (feeds, weights) => run(session, weights === undefined ? feeds : { ...weights, ...feeds }),
    dispose: () => session.release(),
  };
}

const NO_WEIGHTS: Tensors = {};

/** Opens its sessions when they are first run, one for each policy. */
function createBoundSession(
  graph: BuiltGraph,
  placement: Placement,
  maxBindings: number,
  locations: Readonly<Record<string, 'gpu-buffer'>>,
): GraphSession {
  const run = runner(graph);
  const model = modelFor(graph, placement.device);
  /** in order of use, the most recent last */
  const bindings = new Map<Tensors, InferenceSession>();
  const bind = async (weights: Tensors): Promise<InferenceSession> => {
    for (const [oldest, unused] of bindings) {
      if (bindings.size < maxBindings) break;
      bindings.delete(oldest);
      await unused.release();
    }
    const tensors = Object.entries(weights).map(
      ([name, { dims, data }]) => [name, { shape: dims, data: data as Float32Array }] as const,
    );
    const { model: bound, externalData } = bindInputs(model, new Map(tensors));
    return openSession(bound, placement, { externalData, preferredOutputLocation: locations });
  };
  return {
    run: async (feeds, weights = NO_WEIGHTS) => {
      const session = bindings.get(weights) ?? (await bind(weights));
      bindings.delete(weights);
      bindings.set(weights, session);
      return run(session, feeds);
    },
    dispose: async () => {
      for (const session of bindings.values()) await session.release();
      bindings.clear();
    },
  };
}
