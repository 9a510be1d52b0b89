// The upper tail of a binomial distribution, for counts far above what chance gives.

/**
 * P(X ≥ k) of X ~ Binomial(n, p), summed from its largest term down; terms below 1e-18 of the sum are left out.
 * @param k ≥ 0; @param n ≥ 0; @param p in (0, 1)
 */
export function atLeast(k: number, n: number, p: number): number {
  if (k <= 0) return 1;
  if (k > n) return 0;
  let logTerm = k * Math.log(p) + (n - k) * Math.log1p(-p);
  for (let i = 1; i <= k; i++) logTerm += Math.log((n - k + i) / i);
  let term = Math.exp(logTerm);
  let total = 0;
  for (let i = k; i <= n && (term > total * 1e-18 || i <= n * p); i++) {
    total += term;
    term *= ((n - i) / (i + 1)) * (p / (1 - p));
  }
  return Math.min(1, total);
}
