// Gradients of operators that move values: indexing, shapes, rotation.

import type { Dim } from '../../../node/model/graph/dim.ts';
import { addDims } from '../../../node/model/graph/dim.ts';
import {
  add,
  cast,
  concat,
  dimTensor,
  fill,
  gather,
  gatherElements,
  neg,
  pad,
  reshape,
  rotaryEmbedding,
  scatterElementsAdd,
  scatterRowsAdd,
  slice,
  sliceBetween,
  sub,
  transpose,
} from '../../../node/model/graph/ops.ts';
import type { GraphNode } from '../../../node/model/graph/value.ts';
import { rule, sumToShape, type VjpRule } from '../rule.ts';

function axisOf(node: GraphNode): number {
  const attribute = node.attributes.axis;
  return attribute?.kind === 'int' ? attribute.value : 0;
}

function constantAxis(node: GraphNode, input: number): number {
  const value = node.inputs[input]!;
  return Number(value.graph.initializers.find((initializer) => initializer.value === value)!.data[0]);
}

// y = rows of data at indices:  ∂data = g's rows added at those indices
export const gatherRule: VjpRule = rule((g, [data, indices]) => [
  scatterRowsAdd(fill(g.graph, data!.shape, 0), cast(reshape(indices!, [...indices!.shape, 1]), 'int64'), g),
]);

// y[…, k] = data[…, index k]:  ∂data = g added at those indices
export const gatherElementsRule: VjpRule = rule((g, [data, indices]) => [
  scatterElementsAdd(fill(g.graph, data!.shape, 0), indices!, g),
]);

// y = data with updates added:  ∂data = g, ∂updates = g at the indices
export const scatterElementsRule: VjpRule = rule((g, [, indices]) => [g, null, gatherElements(g, indices!)]);
export const scatterRowsRule: VjpRule = rule((g, [, indices]) => [
  g,
  null,
  gather(g, reshape(indices!, indices!.shape.slice(0, -1))),
]);

// y = x in another shape, or with axes in another order:  ∂x = g moved back
export const reshapeRule: VjpRule = rule((g, [x]) => [reshape(g, x!.shape)]);
export const transposeRule: VjpRule = rule((g, _inputs, _y, node) => {
  const attribute = node.attributes.perm;
  const permutation = attribute?.kind === 'ints' ? attribute.value : [];
  return [
    transpose(
      g,
      permutation.map((_, axis) => permutation.indexOf(axis)),
    ),
  ];
});

// y = x repeated:  ∂x = g summed over the repeats
export const expandRule: VjpRule = rule((g, [x]) => [sumToShape(g, x!.shape)]);

// y = [x₀, x₁, …]:  ∂xᵢ = its part of g
export const concatRule: VjpRule = rule((g, inputs, _y, node) => {
  const axis = axisOf(node);
  let start: Dim = 0;
  return inputs.map((x) => {
    const part = slice(g, axis, start, x.shape[axis]!);
    start = addDims([start, x.shape[axis]!]);
    return part;
  });
});

// [y₀, y₁, …] = x:  ∂x = all of their gradients, one after the other
export const splitRule: VjpRule = (node, gradients) => [
  concat(
    node.outputs.map((output, k) => gradients[k] ?? fill(output.graph, output.shape, 0)),
    axisOf(node),
  ),
];

// y = x[from … to):  ∂x = g between zeros
export const sliceRule: VjpRule = rule((g, [x, from, to], _y, node) => {
  const axis = constantAxis(node, 3);
  return [pad(g, axis, from!, sub(dimTensor(g.graph, x!.shape[axis]!), to!), x!.shape[axis]!)];
});

// y = zeros, x, zeros:  ∂x = the part of g where x is
export const padRule: VjpRule = rule((g, [x, both], _y, node) => {
  const axis = constantAxis(node, 3);
  const before = slice(both!, 0, 0, 1);
  const size = x!.shape[axis]!;
  return [sliceBetween(g, axis, before, add(before, dimTensor(g.graph, size)), size)];
});

// y = R(θ)·x, a rotation of pairs:  ∂x = R(−θ)·g
export const rotaryRule: VjpRule = rule((g, [, positions, cos, sin]) => [
  rotaryEmbedding(g, positions!, cos!, neg(sin!)),
]);
