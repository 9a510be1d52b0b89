// What an engine does with its memory budget, for one model: said before anything is allocated, and what it then keeps to.
// Rough counts, generous ones; the shares leave a twentieth to ONNX Runtime and the heap.

import { SwarmError } from '../../protocol/errors.ts';
import { type ModelConfig, requiredTensors } from '../config.ts';
import { elementCount } from '../weights.ts';
import { bucketFor, rowBytes } from './kv-cache.ts';
import type { EngineLimits } from './messages.ts';
import { passBytes } from './passes.ts';

/** Shares of the memory budget. */
const WEIGHTS_SHARE = 0.5;
const CACHE_SHARE = 0.25;
const ACTIVATIONS_SHARE = 0.2;

/** A graph bound to its weights holds them once more, a tied embedding in two layouts (measured: 1.27 times, 135 M). */
const BOUND_COPY = 1.3;

/** More rows than this win nothing on a CPU and cost memory: 64, 128 and 256 take the same CPU time a token (measured, starter). */
const MAX_ROWS = 128;

export interface EnginePlan {
  /** of one policy, float32 */
  readonly policyBytes: number;
  /** that loaded policies may take, beside a bound copy */
  readonly weightsBytes: number;
  /** whether decoding holds a copy of the weights that is laid out for its kernels */
  readonly binding: 'fed' | 'bound';
  readonly cacheBytes: number;
  /** of one pass, or of one step */
  readonly activationBytes: number;
}

export function planEngine(config: ModelConfig, { memoryBytes }: Pick<EngineLimits, 'memoryBytes'>): EnginePlan {
  const policyBytes =
    Float32Array.BYTES_PER_ELEMENT * requiredTensors(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const share = memoryBytes * WEIGHTS_SHARE;
  const copyBytes = policyBytes * BOUND_COPY;
  const isBound = policyBytes + copyBytes <= share;
  return {
    policyBytes,
    weightsBytes: isBound ? share - copyBytes : share,
    binding: isBound ? 'bound' : 'fed',
    cacheBytes: memoryBytes * CACHE_SHARE,
    activationBytes: memoryBytes * ACTIVATIONS_SHARE,
  };
}

/** What the rows that run at once are limited by. */
export interface RowBudget {
  readonly rows: number;
  readonly limit: 'processor' | 'cache' | 'activations';
}

/** Rows that may run at once, when each may grow to `tokens`. @throws {SwarmError} OUT_OF_MEMORY_BUDGET */
export function rowBudget(
  config: ModelConfig,
  tokens: number,
  { cacheBytes, activationBytes }: Pick<EnginePlan, 'cacheBytes' | 'activationBytes'>,
): RowBudget {
  const bytes = rowBytes(config, bucketFor(tokens));
  const byCache = Math.floor(cacheBytes / bytes);
  if (byCache < 1) {
    throw new SwarmError(
      'OUT_OF_MEMORY_BUDGET',
      `One sequence of ${tokens} tokens needs ${bytes} bytes of cache, the budget is ${cacheBytes}; raise it.`,
      { bytes, budget: cacheBytes },
    );
  }
  const byActivations = Math.max(1, Math.floor(activationBytes / passBytes(config, 1, 1, true)));
  const rows = Math.min(MAX_ROWS, byCache, byActivations);
  return { rows, limit: rows === MAX_ROWS ? 'processor' : rows === byCache ? 'cache' : 'activations' };
}

/** The plan in words and numbers, for a log line. */
export function describePlan(config: ModelConfig, limits: EngineLimits): Readonly<Record<string, string | number>> {
  const plan = planEngine(config, limits);
  const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);
  const tokens = Math.min(config.maxPositions, Math.floor(plan.cacheBytes / rowBytes(config, 1) / MAX_ROWS));
  return {
    threads: limits.threads,
    memoryMiB: mebibytes(limits.memoryBytes),
    policyMiB: mebibytes(plan.policyBytes),
    policiesKept: Math.floor(plan.weightsBytes / plan.policyBytes),
    weights:
      plan.binding === 'bound'
        ? 'bound to the decode graph: a second copy fits, and is faster'
        : `fed to the decode graph: a second copy of ${mebibytes(plan.policyBytes * BOUND_COPY)} MiB does not fit`,
    cacheMiB: mebibytes(plan.cacheBytes),
    rows:
      tokens >= 1
        ? `${MAX_ROWS} at once up to ${tokens} tokens each, fewer of longer ones; more win nothing`
        : 'as many as the cache holds',
    activationsMiB: mebibytes(plan.activationBytes),
  };
}
