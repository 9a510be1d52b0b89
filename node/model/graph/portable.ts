// The same graph in operators that the WebGPU provider has and computes rightly. On the CPU the fused ones are faster, so
// graphs are written with those; this one rewrites them where a provider would hand them back to the CPU.
// Source: ONNX Runtime 1.30, by profiling each graph on SwiftShader (measured): FusedMatMul and LogSoftmax have no WebGPU
// kernel, and SimplifiedLayerNormalization writes the mean where the inverse root mean square belongs (its second output).

import { GraphBuilder } from './builder.ts';
import {
  add,
  exp,
  log,
  matMul,
  mul,
  reciprocal,
  reduceMax,
  reduceMean,
  reduceSum,
  sqrt,
  sub,
  transpose,
} from './ops.ts';
import type { GraphNode, Initializer, SupportedOp, Value } from './value.ts';

/** Gives a node's outputs anew, in the order of the node's; null leaves the node as it is. */
type Rewrite = (node: GraphNode, inputs: readonly Value[], isRead: (output: Value) => boolean) => Value[] | null;

const numberOf = (node: GraphNode, name: string, absent: number): number => {
  const attribute = node.attributes[name];
  return attribute?.kind === 'int' || attribute?.kind === 'float' ? attribute.value : absent;
};

/** The last two axes exchanged. */
function transposed(x: Value): Value {
  const last = x.shape.length - 1;
  return transpose(
    x,
    [...x.shape.keys()].map((axis) => (axis === last ? last - 1 : axis === last - 1 ? last : axis)),
  );
}

const REWRITES: Partial<Readonly<Record<SupportedOp, Rewrite>>> = {
  // alpha · op(a) · op(b)
  FusedMatMul: (node, [a, b]) => {
    const alpha = numberOf(node, 'alpha', 1);
    const left = numberOf(node, 'transA', 0) === 1 ? transposed(a!) : a!;
    const right = numberOf(node, 'transB', 0) === 1 ? transposed(b!) : b!;
    return [matMul(alpha === 1 ? left : mul(left, alpha), right)];
  },
  // x − max − log Σ e^(x − max)
  LogSoftmax: (_node, [x]) => {
    const shifted = sub(x!, reduceMax(x!, { axes: [-1], keepDims: true }));
    return [sub(shifted, log(reduceSum(exp(shifted), { axes: [-1], keepDims: true })))];
  },
  // 1/√(mean(x²) + ε) beside the norm itself, where something reads it
  SimplifiedLayerNormalization: (node, inputs, isRead) => {
    if (!isRead(node.outputs[1]!)) return null;
    const x = inputs[0]!;
    const [y] = x.graph.node(node.op, inputs, node.outputs, node.attributes);
    const squares = reduceMean(mul(x, x), { axes: [-1], keepDims: true });
    return [y!, reciprocal(sqrt(add(squares, numberOf(node, 'epsilon', 0))))];
  },
};

function constantIn(graph: GraphBuilder, { value, data }: Initializer): Value {
  const { dtype, shape } = value;
  if (dtype === 'bool') return graph.scalar('bool', Number(data[0]));
  if (dtype === 'float32') return graph.constant(data as Float32Array, shape);
  const numbers = Array.from(data as Int32Array | BigInt64Array, Number);
  return dtype === 'int64' ? graph.constantInt64(numbers, shape) : graph.constantInt32(numbers, shape);
}

/** A graph of the same inputs and outputs that runs whole on a WebGPU device, but for sums of shapes. */
export function portableGraph(graph: GraphBuilder): GraphBuilder {
  const portable = new GraphBuilder(graph.name);
  const known = new Map<Value, Value>();
  const read = new Set<Value>([
    ...graph.nodes.flatMap(({ inputs }) => inputs),
    ...graph.outputs.map(({ value }) => value),
  ]);
  for (const input of graph.inputs) known.set(input, portable.input(input.name, input.dtype, input.shape));
  for (const initializer of graph.initializers) known.set(initializer.value, constantIn(portable, initializer));
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((value) => known.get(value)!);
    const outputs =
      REWRITES[node.op]?.(node, inputs, (output) => read.has(output)) ??
      portable.node(node.op, inputs, node.outputs, node.attributes);
    for (const [k, output] of node.outputs.entries()) known.set(output, outputs[k]!);
  }
  for (const { name, value } of graph.outputs) portable.output(name, known.get(value)!);
  return portable;
}
