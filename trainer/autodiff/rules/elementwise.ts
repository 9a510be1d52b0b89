// Gradients of elementwise operators. g is ∂loss/∂y; binary operators broadcast, so each gradient is summed back.

import {
  add,
  and,
  cast,
  div,
  greaterOrEqual,
  lessOrEqual,
  mul,
  neg,
  not,
  sigmoid,
  sign,
  sub,
  where,
} from '../../../node/model/graph/ops.ts';
import type { Value } from '../../../node/model/graph/value.ts';
import { rule, sumToShape, type VjpRule } from '../rule.ts';

// y = a + b:  ∂a = g, ∂b = g
export const addRule: VjpRule = rule((g, [a, b]) => [sumToShape(g, a!.shape), sumToShape(g, b!.shape)]);

// y = a − b:  ∂a = g, ∂b = −g
export const subRule: VjpRule = rule((g, [a, b]) => [sumToShape(g, a!.shape), neg(sumToShape(g, b!.shape))]);

// y = a·b:  ∂a = g·b, ∂b = g·a
export const mulRule: VjpRule = rule((g, [a, b]) => [
  sumToShape(mul(g, b!), a!.shape),
  sumToShape(mul(g, a!), b!.shape),
]);

// y = a/b:  ∂a = g/b, ∂b = −g·y/b
export const divRule: VjpRule = rule((g, [a, b], y) => {
  const scaled = div(g, b!);
  return [sumToShape(scaled, a!.shape), neg(sumToShape(mul(scaled, y), b!.shape))];
});

function chosen(first: Value, g: Value, a: Value, b: Value): readonly Value[] {
  return [sumToShape(where(first, g, 0), a.shape), sumToShape(where(not(first), g, 0), b.shape)];
}

// y = min(a, b):  g goes to the smaller; of equals to a
export const minRule: VjpRule = rule((g, [a, b]) => chosen(lessOrEqual(a!, b!), g, a!, b!));

// y = max(a, b):  g goes to the larger; of equals to a
export const maxRule: VjpRule = rule((g, [a, b]) => chosen(greaterOrEqual(a!, b!), g, a!, b!));

// y = c ? a : b:  ∂a = c ? g : 0, ∂b = c ? 0 : g
export const whereRule: VjpRule = rule((g, [condition, a, b]) => [
  null,
  sumToShape(where(condition!, g, 0), a!.shape),
  sumToShape(where(condition!, 0, g), b!.shape),
]);

// y = |x|:  ∂x = g·sign(x)
export const absRule: VjpRule = rule((g, [x]) => [mul(g, sign(x!))]);

// y = eˣ:  ∂x = g·y
export const expRule: VjpRule = rule((g, _inputs, y) => [mul(g, y)]);

// y = ln x:  ∂x = g/x
export const logRule: VjpRule = rule((g, [x]) => [div(g, x!)]);

// y = −x:  ∂x = −g
export const negRule: VjpRule = rule((g) => [neg(g)]);

// y = 1/x:  ∂x = −g·y²
export const reciprocalRule: VjpRule = rule((g, _inputs, y) => [neg(mul(g, mul(y, y)))]);

// y = 1/(1+e⁻ˣ):  ∂x = g·y·(1 − y)
export const sigmoidRule: VjpRule = rule((g, _inputs, y) => [mul(g, mul(y, sub(1, y)))]);

// y = √x:  ∂x = g/(2y)
export const sqrtRule: VjpRule = rule((g, _inputs, y) => [div(mul(g, 0.5), y)]);

// y = tanh x:  ∂x = g·(1 − y²)
export const tanhRule: VjpRule = rule((g, _inputs, y) => [mul(g, sub(1, mul(y, y)))]);

// y = x·σ(x):  ∂x = g·(σ + xσ(1 − σ)) = g·(σ + (y − yσ))
// (not 1 − σ: ONNX Runtime takes four times as long when the first operand is a scalar (measured))
export const siluRule: VjpRule = rule((g, [x], y) => {
  const s = sigmoid(x!);
  return [mul(g, add(s, sub(y, mul(y, s))))];
});

// y = min(max(x, low), high):  ∂x = g where low ≤ x ≤ high, else 0
export const clipRule: VjpRule = rule((g, [x, low, high]) => [
  where(and(greaterOrEqual(x!, low!), lessOrEqual(x!, high!)), g, 0),
]);

// y = x in another dtype; only floats carry gradients, and there is one float dtype
export const castRule: VjpRule = rule((g, [x]) => [
  x!.dtype === 'float32' && g.dtype === 'float32' ? cast(g, x!.dtype) : null,
]);
