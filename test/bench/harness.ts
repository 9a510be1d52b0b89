// What every benchmark shares: rows and their targets, medians of interleaved rounds, the clock around session.run.
// Figures that are compared are measured in turns inside one round, so that a noisy machine disturbs both alike.

import { InferenceSession } from 'onnxruntime-node';
import { buildPrefillGraph } from '../../node/model/llama/prefill.ts';
import { randomModel } from '../support/random-model.ts';

/** One figure. `ratio` is value ÷ peerValue where there is a peer; `target` is in words; `met` is null without one. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly peer: string | null;
  readonly peerValue: number | null;
  readonly ratio: number | null;
  readonly target: string | null;
  readonly met: boolean | null;
}

/** What a figure is held to: `value` or `ratio`, at least or at most a number. */
export type Target = { readonly of: 'value' | 'ratio' } & ({ readonly atLeast: number } | { readonly atMost: number });

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly peer?: string;
  readonly peerValue?: number;
  /** default value ÷ peerValue; given where it is the median of rounds */
  readonly ratio?: number;
  readonly target?: Target;
}

/** What a benchmark works with. */
export interface BenchContext {
  /** threads of ONNX Runtime */
  readonly threads: number;
  /** how many inputs fuzzing gives each decoder, how many groups a calibration holds against limits; null: the default */
  readonly inputs: number | null;
  /** how long a long benchmark watches; null: its default */
  readonly minutes: number | null;
  /** says why a figure is left out */
  note(text: string): void;
  /** keeps what rows do not hold, such as curves: written beside the rows, under `name` */
  keep(name: string, details: unknown): void;
}

/** One file, some rows. */
export interface Benchmark {
  readonly name: string;
  /** only with `--only`: takes minutes */
  readonly isLong?: boolean;
  run(context: BenchContext): Promise<readonly Row[]>;
}

export function row(figure: Figure): Row {
  const { name, value, unit, target } = figure;
  const peerValue = figure.peerValue ?? null;
  const ratio = figure.ratio ?? (peerValue === null ? null : value / peerValue);
  const held = target === undefined ? null : target.of === 'value' ? value : ratio;
  const isAtLeast = target !== undefined && 'atLeast' in target;
  const limit = target === undefined ? 0 : 'atLeast' in target ? target.atLeast : target.atMost;
  return {
    name,
    value,
    unit,
    peer: figure.peer ?? null,
    peerValue,
    ratio,
    target: target === undefined ? null : `${target.of} ${isAtLeast ? '≥' : '≤'} ${limit}`,
    met: held === null ? null : isAtLeast ? held >= limit : held <= limit,
  };
}

/** @param values at least one */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export async function millisecondsOf(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Runs all works in turns.
 * @param works milliseconds of each are returned, one array a work, one entry a round
 * @param warmUps rounds that are not counted
 */
export async function rounds<K extends string>(
  works: Readonly<Record<K, () => unknown>>,
  count: number,
  warmUps: number = 1,
): Promise<Record<K, number[]>> {
  const names = Object.keys(works) as K[];
  const times = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<K, number[]>;
  for (let k = 0; k < warmUps + count; k++) {
    for (const name of names) {
      const ms = await millisecondsOf(works[name]);
      if (k >= warmUps) times[name].push(ms);
    }
  }
  return times;
}

/** Median over rounds of a ÷ b: robust where the machine's speed drifts between rounds. */
export function medianRatio(a: readonly number[], b: readonly number[]): number {
  return median(a.map((value, k) => value / b[k]!));
}

/** Milliseconds spent inside `session.run` since the last `reset`. */
export interface RunClock {
  reset(): void;
  milliseconds(): number;
  /** puts `session.run` back as it was */
  stop(): void;
}

interface Runs {
  run(...args: unknown[]): Promise<unknown>;
}

/** Times every session's `run` in this thread, whoever made the session. */
export async function watchSessionRuns(): Promise<RunClock> {
  const { model } = buildPrefillGraph(randomModel().config);
  const session = await InferenceSession.create(model);
  const prototype = Object.getPrototypeOf(session) as Runs;
  await session.release();
  const original = prototype.run;
  let inside = 0;
  prototype.run = async function (this: Runs, ...args) {
    const start = performance.now();
    try {
      return await original.apply(this, args);
    } finally {
      inside += performance.now() - start;
    }
  };
  return {
    reset: () => {
      inside = 0;
    },
    milliseconds: () => inside,
    stop: () => {
      prototype.run = original;
    },
  };
}
