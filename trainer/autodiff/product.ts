// Products of matrices on the way back, most of which read their first one transposed.

import { type GemmOptions, gemm, transpose } from '../../node/model/graph/ops.ts';
import type { Value } from '../../node/model/graph/value.ts';

/**
 * op(a) · op(b) of two matrices. `a` is transposed by itself, once: MLAS's Gemm transposes it again for every 128 columns of
 * the product, which makes a gradient of weights 1.1…1.5 times as long (measured, shapes of 5.6 M and 135 M, 2 threads, AVX2).
 */
export function product(a: Value, b: Value, { transA = false, transB = false }: Omit<GemmOptions, 'bias'> = {}): Value {
  return gemm(transA ? transpose(a, [1, 0]) : a, b, { transB });
}
