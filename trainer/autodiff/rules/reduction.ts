// Gradients of reductions and of what normalises over an axis.

import type { Dim, Shape } from '../../../node/model/graph/dim.ts';
import { multiplyDims } from '../../../node/model/graph/dim.ts';
import {
  add,
  cast,
  dimTensor,
  div,
  equal,
  exp,
  expand,
  mul,
  neg,
  reduceMean,
  reduceSum,
  reshape,
  sub,
} from '../../../node/model/graph/ops.ts';
import type { GraphNode, Value } from '../../../node/model/graph/value.ts';
import { rule, sumToShape, type VjpRule } from '../rule.ts';

/** Shape of x with the reduced axes at size 1, and how many elements went into one result. */
function reduced(node: GraphNode): { readonly kept: Shape; readonly count: Dim; readonly axes: readonly number[] } {
  const [x, axesTensor] = [node.inputs[0]!, node.inputs[1]!];
  const data = x.graph.initializers.find((initializer) => initializer.value === axesTensor)!.data;
  const axes = Array.from(data, Number);
  const kept = x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
  return { kept, count: multiplyDims(axes.map((axis) => x.shape[axis]!)), axes };
}

function count(x: Value, dim: Dim): Value | number {
  return typeof dim === 'number' ? dim : reshape(cast(dimTensor(x.graph, dim), 'float32'), []);
}

// y = Σ x:  ∂x = g, repeated along the summed axes
export const reduceSumRule: VjpRule = rule((g, [x], _y, node) => [expand(reshape(g, reduced(node).kept), x!.shape)]);

// y = Σ x / n:  ∂x = g/n, repeated
export const reduceMeanRule: VjpRule = rule((g, [x], _y, node) => {
  const { kept, count: n } = reduced(node);
  return [expand(div(reshape(g, kept), count(x!, n)), x!.shape)];
});

// y = max x:  ∂x = g at the largest, shared equally among equals
export const reduceMaxRule: VjpRule = rule((g, [x], y, node) => {
  const { kept, axes } = reduced(node);
  const largest = cast(equal(x!, reshape(y, kept)), 'float32');
  const share = div(reshape(g, kept), reduceSum(largest, { axes, keepDims: true }));
  return [mul(largest, share)];
});

// y = softmax(x):  ∂x = y ∘ (g − Σ g∘y)
export const softmaxRule: VjpRule = rule((g, _inputs, y) => [
  mul(y, sub(g, reduceSum(mul(g, y), { axes: [-1], keepDims: true }))),
]);

// y = log softmax(x):  ∂x = g − eʸ·Σ g
export const logSoftmaxRule: VjpRule = rule((g, _inputs, y) => [
  sub(g, mul(exp(y), reduceSum(g, { axes: [-1], keepDims: true }))),
]);

// y = x·r·w with r = (mean(x²) + ε)^−½. With h = g∘w and n = x·r:
//   ∂x = r·(h − n·mean(h∘n)),  ∂w = Σ_rows g∘n;  and through r itself: ∂r/∂x = −r³·x/d
export const rmsNormRule: VjpRule = (node, [g, gInverse]) => {
  const [x, scale] = [node.inputs[0]!, node.inputs[1]!];
  const r = node.outputs[1]!;
  const n = mul(x, r);
  let gradientX: Value | null = null;
  if (g) {
    const h = mul(g, scale);
    gradientX = mul(r, sub(h, mul(n, reduceMean(mul(h, n), { axes: [-1], keepDims: true }))));
  }
  if (gInverse) {
    const through = mul(n, div(neg(mul(gInverse, mul(r, r))), count(x, x.shape.at(-1)!)));
    gradientX = gradientX ? add(gradientX, through) : through;
  }
  return [gradientX, g ? sumToShape(mul(g, n), scale.shape) : null];
};
