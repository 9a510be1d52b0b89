// Token buckets by name: who may do how much how often. The figures are our own.
// Invariants: memory is bounded (the bucket used longest ago leaves first); time comes from the caller, in milliseconds.

export interface Rate {
  /** tokens that come back every second */
  readonly perSecond: number;
  /** most tokens that can be saved up */
  readonly burst: number;
}

export interface RateLimiter {
  /** takes `tokens` when they are there; takes nothing and answers false when not */
  take(name: string, tokens?: number): boolean;
  /** takes `tokens` also when they are not there: what is owed comes back first */
  charge(name: string, tokens: number): void;
  /** whether `tokens` are there, taking none */
  has(name: string, tokens?: number): boolean;
  /** tokens of a name now; below 0: owed */
  left(name: string): number;
  /** milliseconds until `tokens` (≤ burst) are there */
  waitMs(name: string, tokens: number): number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * A bucket for each name.
 * @param init.maxNames buckets kept; one that left starts anew
 * @param init.initial tokens at first. Default: all that can be saved up
 */
export function createRateLimiter(
  components: { readonly nowMs: () => number },
  init: Rate & { readonly maxNames?: number; readonly initial?: number },
): RateLimiter {
  const buckets = new Map<string, Bucket>();
  const maxNames = init.maxNames ?? 4096;
  const initial = init.initial ?? init.burst;

  function bucket(name: string): Bucket {
    const nowMs = components.nowMs();
    const known = buckets.get(name);
    if (known === undefined) {
      if (buckets.size >= maxNames) buckets.delete(buckets.keys().next().value!);
      const fresh = { tokens: initial, atMs: nowMs };
      buckets.set(name, fresh);
      return fresh;
    }
    const gained = (Math.max(0, nowMs - known.atMs) * init.perSecond) / 1000;
    known.tokens = Math.min(init.burst, known.tokens + gained);
    known.atMs = nowMs;
    buckets.delete(name);
    buckets.set(name, known);
    return known;
  }

  return {
    take(name, tokens = 1) {
      const it = bucket(name);
      if (it.tokens < tokens) return false;
      it.tokens -= tokens;
      return true;
    },
    charge(name, tokens) {
      bucket(name).tokens -= tokens;
    },
    // Asked of names that anybody can make up: they take no place here.
    has: (name, tokens = 1) => (buckets.has(name) ? bucket(name).tokens : initial) >= tokens,
    left: (name) => bucket(name).tokens,
    waitMs: (name, tokens) => Math.max(0, Math.ceil(((tokens - bucket(name).tokens) * 1000) / init.perSecond)),
  };
}
