// Drawing by inverse CDF in token-id order, and the check that a uniform number would have drawn a token
// (spec/rollouts.md, "Sampling" and "Replay"). One uniform a token, no sort.

import { type CutSettings, checkSum, cutDistribution, hasCut, logProbability, softmax } from './distribution.ts';

/** Where a token lies in the CDF: F(id − 1) and F(id), after the cut. Equal when the cut took the token. */
export interface Interval {
  readonly below: number;
  readonly upTo: number;
}

/** A token drawn; `logprob` is before any cut. */
export interface Draw {
  readonly token: number;
  readonly logprob: number;
}

/** The largest id with p > 0: its F is 1 whatever rounding says. */
function lastPossible(p: Float64Array): number {
  let id = p.length - 1;
  while (id > 0 && !(p[id]! > 0)) id--;
  return id;
}

/** The smallest id with F(id) > u; if rounding leaves none, the largest id with p > 0. */
export function drawFrom(p: Float64Array, u: number): number {
  let sum = 0;
  for (let id = 0; id < p.length; id++) {
    sum += p[id]!;
    if (sum > u) return id;
  }
  return lastPossible(p);
}

/** F(token − 1) and F(token) under p. */
export function intervalOf(p: Float64Array, token: number): Interval {
  let below = 0;
  for (let id = 0; id < token; id++) below += p[id]!;
  const probability = p[token]!;
  if (!(probability > 0)) return { below, upTo: below };
  return { below, upTo: token === lastPossible(p) ? 1 : below + probability };
}

/** A sampler for one recipe: keeps its scratch row between tokens. */
export interface Sampler {
  /** @param logits f32[≥ tokenCount] */
  draw(logits: Float32Array, u: number): Draw;
}

/**
 * The reference sampler, float64 throughout. Without cuts it never normalises: it compares u · Σe with the running sum.
 * @param tokenCount ids from here on have no token
 */
export function createSampler(settings: CutSettings, tokenCount: number): Sampler {
  const row = new Float64Array(tokenCount);
  if (hasCut(settings, tokenCount)) {
    return {
      draw: (logits, u) => {
        const token = drawFrom(cutDistribution(softmax(logits, settings.temperature, tokenCount, row), settings), u);
        return { token, logprob: logProbability(logits, settings.temperature, tokenCount, token) };
      },
    };
  }
  return { draw: (logits, u) => drawUncut(logits, settings.temperature, row, u) };
}

function drawUncut(logits: Float32Array, temperature: number, row: Float64Array, u: number): Draw {
  let largest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < row.length; id++) if (logits[id]! > largest) largest = logits[id]!;
  let sum = 0;
  for (let id = 0; id < row.length; id++) sum += row[id] = Math.exp((logits[id]! - largest) / temperature);
  checkSum(sum);
  const target = u * sum;
  let token = -1;
  for (let id = 0, running = 0; id < row.length; id++) {
    running += row[id]!;
    if (running > target) {
      token = id;
      break;
    }
  }
  if (token < 0) token = lastPossible(row);
  return { token, logprob: (logits[token]! - largest) / temperature - Math.log(sum) };
}

/**
 * The numbers that may have drawn a token lying at [x, y), were no logit / temperature off by more than `delta`: no odds
 * are off by more than a = e^{2·delta}, so x/(1−x) is at least 1/a of what was, y/(1−y) at most a times.
 */
export function widened({ below: x, upTo: y }: Interval, delta: number): Interval {
  const a = Math.exp(2 * delta);
  return { below: x / (x + a * (1 - x)), upTo: y >= 1 ? 1 : (a * y) / (1 - y + a * y) };
}

/** Whether `u` would have drawn a token lying at [x, y), give or take `delta`. A token that a cut took (x = y) was never drawn. */
export function drawnWithin(u: number, x: number, y: number, delta: number): boolean {
  if (!(y > x)) return false;
  const { below, upTo } = widened({ below: x, upTo: y }, delta);
  return below <= u && u < upTo;
}
