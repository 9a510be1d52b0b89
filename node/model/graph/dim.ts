// Dimensions of a graph value: numbers, or symbols that get their size when the graph runs.
// A symbolic dimension is a canonical product such as `4*batch*tokens`; a sum such as `(cache+1)` is one opaque factor.
// Invariant: two dimensions are equal at run time for every feed if (not only if) they are === here.

/** Fixed size, or a canonical product of symbols. */
export type Dim = number | string;
export type Shape = readonly Dim[];

interface Product {
  readonly coefficient: number;
  readonly factors: readonly string[];
}

function parse(dim: Dim): Product {
  if (typeof dim === 'number') return { coefficient: dim, factors: [] };
  let coefficient = 1;
  const factors: string[] = [];
  for (const part of dim.split('*')) {
    if (/^\d+$/.test(part)) coefficient *= Number(part);
    else factors.push(part);
  }
  return { coefficient, factors };
}

function print(product: Product): Dim {
  if (product.factors.length === 0 || product.coefficient === 0) return product.coefficient;
  const names = [...product.factors].sort().join('*');
  return product.coefficient === 1 ? names : `${product.coefficient}*${names}`;
}

/** Product of dimensions, canonical. The product of none is 1. */
export function multiplyDims(dims: Shape): Dim {
  let coefficient = 1;
  const factors: string[] = [];
  for (const dim of dims) {
    const product = parse(dim);
    coefficient *= product.coefficient;
    factors.push(...product.factors);
  }
  return print({ coefficient, factors });
}

/** `dividend / divisor` where the division is exact for every feed, else null. */
export function divideDims(dividend: Dim, divisor: Dim): Dim | null {
  const left = parse(dividend);
  const right = parse(divisor);
  if (right.coefficient === 0 || left.coefficient % right.coefficient !== 0) return null;
  const factors = [...left.factors];
  for (const factor of right.factors) {
    const at = factors.indexOf(factor);
    if (at < 0) return null;
    factors.splice(at, 1);
  }
  return print({ coefficient: left.coefficient / right.coefficient, factors });
}

/** Sum of dimensions: a number, or one opaque factor `(a+b)`. Nested sums are not flattened. */
export function addDims(dims: Shape): Dim {
  const symbols = dims.filter((dim) => typeof dim === 'string');
  const fixed = dims.reduce<number>((sum, dim) => (typeof dim === 'number' ? sum + dim : sum), 0);
  if (symbols.length === 0) return fixed;
  if (symbols.length === 1 && fixed === 0) return symbols[0]!;
  const terms = [...symbols, ...(fixed === 0 ? [] : [String(fixed)])];
  return `(${terms.join('+').replaceAll('*', '·')})`;
}

/** The terms of an opaque sum, or null where the factor is a plain symbol. */
export function sumTerms(factor: string): Dim[] | null {
  if (!factor.startsWith('(')) return null;
  const terms: string[] = [''];
  let depth = 0;
  for (const character of factor.slice(1, -1)) {
    if (character === '(') depth++;
    if (character === ')') depth--;
    if (character === '+' && depth === 0) terms.push('');
    else terms[terms.length - 1] += character;
  }
  return terms.map((term) =>
    /^\d+$/.test(term) ? Number(term) : term.startsWith('(') ? term : term.replaceAll('·', '*'),
  );
}

/** The fixed coefficient and the symbols whose product is `dim`. */
export function dimFactors(dim: Dim): { readonly coefficient: number; readonly factors: readonly string[] } {
  return parse(dim);
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

/** NumPy broadcasting; null where two dimensions differ and neither is 1. */
export function broadcastShapes(a: Shape, b: Shape): Dim[] | null {
  const rank = Math.max(a.length, b.length);
  const result: Dim[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) return null;
    result.push(left === 1 ? right : left);
  }
  return result;
}

export function printShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}
