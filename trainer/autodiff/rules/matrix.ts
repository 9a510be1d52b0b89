// Gradients of matrix products. For Y = α·op(A)·op(B) with op = transpose or nothing:
//   op(A) = A:   ∂A = α·G·op(B)ᵀ        op(B) = B:   ∂B = α·op(A)ᵀ·G
//   op(A) = Aᵀ:  ∂A = α·op(B)·Gᵀ        op(B) = Bᵀ:  ∂B = α·Gᵀ·op(A)

import { type FusedMatMulOptions, fusedMatMul } from '../../../node/model/graph/ops.ts';
import type { GraphNode, Value } from '../../../node/model/graph/value.ts';
import { product } from '../product.ts';
import { rule, sumToShape, type VjpRule } from '../rule.ts';

type Product = (a: Value, b: Value, options: FusedMatMulOptions) => Value;

function productGradients(
  multiply: Product,
  g: Value,
  a: Value,
  b: Value,
  options: FusedMatMulOptions,
): readonly [Value, Value] {
  const { transA = false, transB = false, alpha = 1 } = options;
  const gradientA = transA
    ? multiply(b, g, { transA: transB, transB: true, alpha })
    : multiply(g, b, { transB: !transB, alpha });
  const gradientB = transB
    ? multiply(g, a, { transA: true, transB: transA, alpha })
    : multiply(a, g, { transA: !transA, alpha });
  return [sumToShape(gradientA, a.shape), sumToShape(gradientB, b.shape)];
}

function options(node: GraphNode): Required<FusedMatMulOptions> {
  const number = (name: string, fallback: number): number => {
    const attribute = node.attributes[name];
    return attribute?.kind === 'int' || attribute?.kind === 'float' ? attribute.value : fallback;
  };
  return { transA: number('transA', 0) === 1, transB: number('transB', 0) === 1, alpha: number('alpha', 1) };
}

// Y = A·B, batched
export const matMulRule: VjpRule = rule((g, [a, b]) => productGradients(fusedMatMul, g, a!, b!, {}));

// Y = α·op(A)·op(B), batched
export const fusedMatMulRule: VjpRule = rule((g, [a, b], _y, node) =>
  productGradients(fusedMatMul, g, a!, b!, options(node)),
);

// Y = op(A)·op(B) + bias:  ∂bias = G, summed over the axes it was repeated along
export const gemmRule: VjpRule = rule((g, [a, b, bias], _y, node) => {
  const { transA, transB } = options(node);
  return [...productGradients(product, g, a!, b!, { transA, transB }), bias ? sumToShape(g, bias.shape) : null];
});
