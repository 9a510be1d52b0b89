// What a rule of reverse-mode differentiation is, and the two that are shared: no gradient, and undoing a broadcast.

import { type Shape, sameShape } from '../../node/model/graph/dim.ts';
import { reduceSum, reshape } from '../../node/model/graph/ops.ts';
import type { GraphNode, Value } from '../../node/model/graph/value.ts';

/**
 * Vector-Jacobian product of one operator: appends nodes that turn ∂loss/∂outputs into ∂loss/∂inputs.
 * @param gradients one for each output, of that output's shape; null where the loss does not depend on it
 * @returns one for each input, of that input's shape; null (or absent) where no gradient flows
 */
export type VjpRule = (node: GraphNode, gradients: readonly (Value | null)[]) => readonly (Value | null)[];

/** For operators whose derivative is zero or undefined: shapes, indices, comparisons, stop-gradient. */
export const noGradient: VjpRule = () => [];

/** Sums over the axes along which a value of `shape` was repeated to reach the gradient's shape. */
export function sumToShape(gradient: Value, shape: Shape): Value {
  if (sameShape(gradient.shape, shape)) return gradient;
  const extra = gradient.shape.length - shape.length;
  const axes = gradient.shape.flatMap((dim, axis) =>
    axis < extra || (shape[axis - extra] === 1 && dim !== 1) ? [axis] : [],
  );
  return reshape(reduceSum(gradient, { axes, keepDims: true }), shape);
}

/** A rule of an operator with one output whose gradient is there. */
export function rule(
  vjp: (gradient: Value, inputs: readonly Value[], output: Value, node: GraphNode) => readonly (Value | null)[],
): VjpRule {
  return (node, gradients) => vjp(gradients[0]!, node.inputs, node.outputs[0]!, node);
}
