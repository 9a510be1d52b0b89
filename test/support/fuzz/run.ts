// The fuzzing loop: children of seeds, and of children that met an outcome that was new. Guided by outcomes (which refusal, in
// which words) instead of by coverage: Jazzer.js 4.0.0 has its fuzzer for glibc ≥ 2.38 only and does not load on Debian 12.
// Growth is what heap and array buffers together gained over one call; a collection in between hides some, never adds any.

import { getHeapStatistics } from 'node:v8';
import { toHex } from '../../../node/protocol/bytes.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { randomNumbers } from '../random-model.ts';
import { type Mutator, type Pick, picker } from './mutate.ts';

export interface FuzzTarget {
  readonly name: string;
  /** the most bytes that reach this decoder; now and then it is given more */
  readonly maxBytes: number;
  /** bytes that it may allocate for an input: `base + factor · input's bytes` */
  readonly allows: { readonly base: number; readonly factor: number };
  /** codes of its refusals */
  readonly codes: readonly string[];
  readonly mutate: Mutator;
  /** well-formed inputs */
  seeds(): readonly Uint8Array[];
  /** Decodes. Refuses by throwing a SwarmError, or by returning a code of `codes`; anything else is acceptance. */
  decode(bytes: Uint8Array): unknown;
  /** what must hold of what was accepted; throws where it does not */
  accepted?(value: unknown, bytes: Uint8Array): void;
}

export interface FuzzReport {
  readonly name: string;
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: Readonly<Record<string, number>>;
  /** distinct refusals, by code and words */
  readonly outcomes: number;
  readonly largestInputBytes: number;
  /** most bytes that one call allocated, and for an input of how many */
  readonly growthBytes: number;
  readonly growthInputBytes: number;
  readonly slowestMs: number;
}

const MAX_CORPUS = 256;
/** Shown of an input that broke something. */
const SHOWN_BYTES = 4_096;

function allocatedBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

/** A message without what it says of the input. */
function wordsOf(text: string): string {
  return text
    .split(/, got|"| is .*; supported/, 1)[0]!
    .replace(/\d+/g, '#')
    .slice(0, 100);
}

/** The refusal of an input; null when it was accepted. */
type Outcome = { readonly code: string; readonly words: string } | null;

function refusal(target: FuzzTarget, error: unknown): Outcome {
  if (!isSwarmError(error) || !target.codes.includes(error.code)) throw error;
  return { code: error.code, words: wordsOf(error.message) };
}

async function outcomeOf(target: FuzzTarget, bytes: Uint8Array, decoded: { value: unknown }): Promise<Outcome> {
  try {
    const answer = target.decode(bytes);
    decoded.value = answer instanceof Promise ? await answer : answer;
  } catch (error) {
    return refusal(target, error);
  }
  const { value } = decoded;
  return typeof value === 'string' && target.codes.includes(value) ? { code: value, words: '' } : null;
}

/** What broke, with the input that broke it. */
function broken(target: FuzzTarget, bytes: Uint8Array, seed: number, cause: unknown): Error {
  const shown = toHex(bytes.subarray(0, SHOWN_BYTES));
  const what = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
  return new Error(`${target.name} (seed ${seed}): ${what}\ninput of ${bytes.length} bytes: ${shown}`, { cause });
}

function nextInput(target: FuzzTarget, pick: Pick, corpus: readonly Uint8Array[]): Uint8Array {
  const parent = corpus[pick(corpus.length)]!;
  const child = target.mutate(pick, parent, corpus[pick(corpus.length)]!, target.maxBytes);
  return child.subarray(0, target.maxBytes + 1);
}

/**
 * Gives a decoder that many inputs.
 * @throws {Error} naming the input, for an error that is not a coded refusal, and for allocations beyond what is allowed
 */
export async function fuzz(target: FuzzTarget, inputs: number, seed: number): Promise<FuzzReport> {
  const pick = picker(randomNumbers(seed));
  const corpus = [...target.seeds()];
  const seen = new Set<string>();
  const refused: Record<string, number> = {};
  // What the first call loads and compiles is no allocation for its input.
  await outcomeOf(target, corpus[0]!, { value: undefined }).catch(() => undefined);
  const report = { accepted: 0, largestInputBytes: 0, growthBytes: 0, growthInputBytes: 0, slowestMs: 0 };
  for (let i = 0; i < inputs; i++) {
    const bytes = i < corpus.length ? corpus[i]! : nextInput(target, pick, corpus);
    const decoded = { value: undefined as unknown };
    const before = allocatedBytes();
    const startMs = performance.now();
    try {
      const outcome = await outcomeOf(target, bytes, decoded);
      const tookMs = performance.now() - startMs;
      const growth = allocatedBytes() - before;
      if (growth > target.allows.base + target.allows.factor * bytes.length) {
        throw new Error(`allocated ${growth} bytes for ${bytes.length}`);
      }
      if (growth > report.growthBytes) [report.growthBytes, report.growthInputBytes] = [growth, bytes.length];
      report.slowestMs = Math.max(report.slowestMs, tookMs);
      report.largestInputBytes = Math.max(report.largestInputBytes, bytes.length);
      const key = outcome === null ? 'accepted' : `${outcome.code} ${outcome.words}`;
      if (!seen.has(key) && bytes.length < 8_192) {
        if (corpus.length >= MAX_CORPUS) corpus[pick(MAX_CORPUS)] = bytes;
        else corpus.push(bytes);
      }
      seen.add(key);
      if (outcome === null) {
        report.accepted++;
        target.accepted?.(decoded.value, bytes);
      } else refused[outcome.code] = (refused[outcome.code] ?? 0) + 1;
    } catch (cause) {
      throw broken(target, bytes, seed, cause);
    }
  }
  return { name: target.name, inputs, refused, outcomes: seen.size, ...report };
}
