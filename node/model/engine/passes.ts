// Which whole sequences share a pass over the model: like lengths together, within a budget of activation bytes.

import type { ModelConfig } from '../config.ts';

/** Activations of more tokens leave the processor's cache: they cost memory and win no time (measured, 1024 against 4096). */
const MAX_PASS_TOKENS = 1024;

/** Sequences that share a pass (indices), and the tokens each is padded to. */
export interface Pass {
  readonly width: number;
  readonly members: readonly number[];
}

/**
 * A generous count of the bytes that a pass over [rows, width] tokens keeps at once.
 * @param scored whether the pass has logits at each position
 */
export function passBytes(config: ModelConfig, rows: number, width: number, scored: boolean): number {
  const perToken = 8 * config.hiddenSize + 3 * config.intermediateSize + (scored ? 5 * config.vocabSize : 0);
  return Float32Array.BYTES_PER_ELEMENT * rows * width * (perToken + 2 * config.heads * width);
}

/** The same for a pass over completions, [rows, width] tokens, each behind `prefix` tokens of a prompt. */
export function completionBytes(config: ModelConfig, rows: number, width: number, prefix: number): number {
  const keysAndValues = 4 * config.keyValueHeads * config.headDim * (prefix + width);
  const scores = 2 * config.heads * width * prefix;
  return passBytes(config, rows, width, true) + Float32Array.BYTES_PER_ELEMENT * rows * (keysAndValues + scores);
}

/**
 * Sorts sequences by length into passes within the budget; one too large for it goes alone.
 * @param lengths tokens of each sequence
 * @param bytes of a pass of so many rows and so many tokens each
 */
export function planPasses(
  lengths: readonly number[],
  bytes: (rows: number, width: number) => number,
  budget: number,
): Pass[] {
  const order = [...lengths.keys()].sort((a, b) => lengths[a]! - lengths[b]!);
  const passes: Pass[] = [];
  let members: number[] = [];
  let width = 0;
  for (const index of order) {
    const next = lengths[index]!;
    const rows = members.length + 1;
    if (rows > 1 && (rows * next > MAX_PASS_TOKENS || bytes(rows, next) > budget)) {
      passes.push({ width, members });
      members = [];
    }
    members.push(index);
    width = next;
  }
  if (members.length > 0) passes.push({ width, members });
  return passes;
}
