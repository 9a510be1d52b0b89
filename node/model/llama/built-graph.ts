// A graph that is ready for a session: its bytes, what to feed, what comes back.

import type { GraphBuilder } from '../graph/builder.ts';
import type { Shape } from '../graph/dim.ts';
import { encodeModel, requiredInputs } from '../graph/encode.ts';
import { portableGraph } from '../graph/portable.ts';
import type { DType } from '../graph/value.ts';

/** One tensor at a graph's border; `shape` may hold symbols such as `batch`. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

export interface BuiltGraph {
  /** bytes for InferenceSession.create */
  readonly model: Uint8Array<ArrayBuffer>;
  /** the same for WebGPU devices, made when asked for */
  readonly portableModel: () => Uint8Array<ArrayBuffer>;
  /** exactly what has to be fed, weights included */
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

/** Encodes a graph whose outputs are named. */
export function finishGraph(graph: GraphBuilder): BuiltGraph {
  const required = new Set(requiredInputs(graph));
  const info = ({ name, dtype, shape }: TensorInfo): TensorInfo => ({ name, dtype, shape });
  return {
    model: encodeModel(graph),
    portableModel: () => encodeModel(portableGraph(graph)),
    inputs: graph.inputs.filter((input) => required.has(input.name)).map(info),
    outputs: graph.outputs.map(({ name, value }) => ({ name, dtype: value.dtype, shape: value.shape })),
  };
}
