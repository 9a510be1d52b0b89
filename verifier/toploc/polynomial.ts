// Polynomials over GF(65497): interpolation by Newton's divided differences, evaluation by Horner's rule.
// Source: spec/toploc.md "Format" (coefficients ascending). The polynomial through n points is unique, so their order does not matter.

import { INVERSES, mulAddMod, mulMod, PRIME, subMod } from './field.ts';

/**
 * Coefficients, ascending, of the polynomial of degree < n through (x[i], y[i]).
 * @param x u16[n], distinct, each < 65497
 * @param y u16[n], each < 65497
 * @returns u16[n]
 */
export function interpolate(x: Uint16Array, y: Uint16Array): Uint16Array {
  const n = x.length;
  // f[x0..xi] = (f[x1..xi] − f[x0..x(i−1)]) / (xi − x0), in place from the last entry down.
  const differences = Int32Array.from(y);
  for (let order = 1; order < n; order++) {
    let upper = differences[n - 1]!;
    for (let i = n - 1; i >= order; i--) {
      const lower = differences[i - 1]!;
      differences[i] = mulMod(subMod(upper, lower), INVERSES[subMod(x[i]!, x[i - order]!)]!);
      upper = lower;
    }
  }
  return toMonomials(x, differences);
}

/** Newton form Σ d_i Π_{j<i}(X − x_j), multiplied out from the inside: c ← c·(X − x_i) + d_i. */
function toMonomials(x: Uint16Array, differences: Int32Array): Uint16Array {
  const n = x.length;
  const coefficients = new Int32Array(n);
  coefficients[0] = n > 0 ? differences[n - 1]! : 0;
  for (let i = n - 2; i >= 0; i--) {
    const negated = x[i] === 0 ? 0 : PRIME - x[i]!;
    for (let j = n - 1 - i; j > 0; j--) {
      coefficients[j] = mulAddMod(coefficients[j]!, negated, coefficients[j - 1]!);
    }
    coefficients[0] = mulAddMod(coefficients[0]!, negated, differences[i]!);
  }
  return Uint16Array.from(coefficients);
}

/**
 * The polynomial's values at each of `x`.
 * Four points go at once: Horner's chain is one long dependency, and four of them overlap (measured: 2 to 3 times as fast).
 * @param coefficients u16[n] ascending, each < 65497
 * @param x u16[m], each < 65497
 * @returns u16[m]
 */
export function evaluate(coefficients: Uint16Array, x: Uint16Array): Uint16Array {
  const out = new Uint16Array(x.length);
  let i = 0;
  for (; i + 4 <= x.length; i += 4) {
    const [x0, x1, x2, x3] = [x[i]!, x[i + 1]!, x[i + 2]!, x[i + 3]!];
    let [y0, y1, y2, y3] = [0, 0, 0, 0];
    for (let j = coefficients.length - 1; j >= 0; j--) {
      const c = coefficients[j]!;
      y0 = mulAddMod(y0, x0, c);
      y1 = mulAddMod(y1, x1, c);
      y2 = mulAddMod(y2, x2, c);
      y3 = mulAddMod(y3, x3, c);
    }
    out[i] = y0;
    out[i + 1] = y1;
    out[i + 2] = y2;
    out[i + 3] = y3;
  }
  for (; i < x.length; i++) {
    let value = 0;
    for (let j = coefficients.length - 1; j >= 0; j--) value = mulAddMod(value, x[i]!, coefficients[j]!);
    out[i] = value;
  }
  return out;
}
