// Exact bounds of a share that was counted. Source: Clopper and Pearson, Biometrika 26 (1934): the bounds are quantiles of beta
// distributions; the beta distribution function by its continued fraction (DLMF 8.17.22), evaluated by Lentz's method.

/** A share that was counted, with its 95 % bounds. */
export interface Share {
  readonly count: number;
  readonly of: number;
  readonly low: number;
  readonly high: number;
}

const CONFIDENCE = 0.95;
/** More terms than any count below 10^9 needs; the fraction is evaluated where it converges within some √max(a, b) of them. */
const MAX_TERMS = 100_000;
const TINY = 1e-300;

/** ln Γ(x) of x > 0, to 1e-13 or so: Stirling's series after lifting x above 10. */
function logGamma(x: number): number {
  let shift = 0;
  let z = x;
  for (; z < 10; z++) shift -= Math.log(z);
  const inverse = 1 / (z * z);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) / z;
  return shift + (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + series;
}

/** The continued fraction of I_x(a, b), for x ≤ (a + 1) / (a + b + 2). */
function betaFraction(x: number, a: number, b: number): number {
  const away = (value: number): number => (Math.abs(value) < TINY ? TINY : value);
  let c = 1;
  let d = 1 / away(1 - ((a + b) * x) / (a + 1));
  let result = d;
  for (let m = 1; m <= MAX_TERMS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let factor = 1;
    for (const term of [even, odd]) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      factor *= c * d;
    }
    result *= factor;
    if (Math.abs(factor - 1) < 1e-15) break;
  }
  return result;
}

/** The regularised incomplete beta function I_x(a, b): P(X ≤ x) of X ~ Beta(a, b). @param x in [0, 1]; a, b > 0 */
export function betaDistribution(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b));
  return x <= (a + 1) / (a + b + 2) ? (front * betaFraction(x, a, b)) / a : 1 - (front * betaFraction(1 - x, b, a)) / b;
}

/** The x with I_x(a, b) = p, by halving [0, 1] until no double lies between. */
export function betaQuantile(p: number, a: number, b: number): number {
  let [low, high] = [0, 1];
  for (let middle = 0.5; low < middle && middle < high; middle = (low + high) / 2) {
    if (betaDistribution(middle, a, b) < p) low = middle;
    else high = middle;
  }
  return high;
}

/** `count` of `of` with its Clopper-Pearson bounds; nothing counted says nothing: [0, 1]. */
export function share(count: number, of: number): Share {
  const tail = (1 - CONFIDENCE) / 2;
  const low = count === 0 ? 0 : betaQuantile(tail, count, of - count + 1);
  const high = count === of ? 1 : betaQuantile(1 - tail, count + 1, of - count);
  return { count, of, low, high };
}
