// Sequences into micro-batches: those of one prompt together, so that it is computed once; like lengths together, so that
// little is padding; cut by a budget of tokens.
// Invariant: every sequence lies in exactly one micro-batch; one that is over the budget by itself has one of its own.

/** A prompt and what follows it. */
export interface PromptedSequence {
  /** at least one token */
  readonly prompt: Uint32Array;
  /** to be predicted, at least one */
  readonly tokens: Uint32Array;
  /** 1 where a token counts; default: all do */
  readonly mask?: Uint8Array;
}

/** Prompts [groups, promptWidth] and under each `members` completions of `width` tokens, in the layout of forward.ts. */
export interface MicroBatch {
  /** which sequence of the batch each of the groups·members rows is; −1: none, to fill up a group */
  readonly indices: readonly number[];
  readonly groups: number;
  readonly members: number;
  readonly promptWidth: number;
  readonly width: number;
  readonly promptIds: Int32Array;
  readonly promptLengths: Int32Array;
  readonly completionIds: Int32Array;
  readonly targets: Int32Array;
  readonly mask: Float32Array;
}

/**
 * Activations of 4096 tokens leave the processor's cache: 1024 take a fifth less time and a quarter of the memory (measured, 5.6 M).
 * Beside so many of completions there is room for their prompt: cut for its sake, a group of 16 × 64 took 1.2 times as long.
 */
const DEFAULT_TOKENS = 1024 + 128;

/** With adapters activations are most of the memory, and runs are cheap: they copy little out (measured: 512 as fast as 1024). */
const ADAPTER_TOKENS = 640;

export const microBatchTokens = (init: { readonly microBatchTokens?: number; readonly lora?: object }): number =>
  init.microBatchTokens ?? (init.lora ? ADAPTER_TOKENS : DEFAULT_TOKENS);

/** What a run of a graph costs beside its tokens, in tokens (measured, 5.6 M: 6 ms of gradients that are copied, 0.25 ms a token). */
const RUN_TOKENS = 32;

/** Sequences under one prompt. */
interface Group {
  readonly prompt: number;
  readonly width: number;
  readonly indices: readonly number[];
}

interface Size {
  readonly groups: number;
  readonly members: number;
  readonly prompt: number;
  readonly width: number;
}

const tokensOf = ({ groups, members, prompt, width }: Size): number => groups * (prompt + members * width);
const sizeOf = ({ prompt, width, indices }: Group): Size => ({ groups: 1, members: indices.length, prompt, width });

function together(size: Size, { prompt, width, indices }: Group): Size {
  return {
    groups: size.groups + 1,
    members: Math.max(size.members, indices.length),
    prompt: Math.max(size.prompt, prompt),
    width: Math.max(size.width, width),
  };
}

/**
 * Cuts the sequences of one prompt, short ones first, where computing the prompt once more costs less than padding.
 * The cheapest cut of the first k sequences is the cheapest of an earlier one and a last part.
 */
function cutGroup(sequences: readonly PromptedSequence[], indices: readonly number[], maxTokens: number): Group[] {
  const prompt = Math.max(1, sequences[indices[0]!]!.prompt.length - 1);
  const order = indices.toSorted((a, b) => sequences[a]!.tokens.length - sequences[b]!.tokens.length || a - b);
  const best = [{ cost: 0, from: 0 }];
  for (let to = 1; to <= order.length; to++) {
    const width = sequences[order[to - 1]!]!.tokens.length;
    let cheapest = { cost: Number.POSITIVE_INFINITY, from: to - 1 };
    for (let from = to - 1; from >= 0; from--) {
      const tokens = prompt + (to - from) * width;
      if (tokens > maxTokens && from < to - 1) break;
      const cost = best[from]!.cost + tokens + RUN_TOKENS;
      if (cost < cheapest.cost) cheapest = { cost, from };
    }
    best.push(cheapest);
  }
  const groups: Group[] = [];
  for (let to = order.length; to > 0; to = best[to]!.from) {
    const part = order.slice(best[to]!.from, to);
    groups.push({ prompt, width: sequences[part.at(-1)!]!.tokens.length, indices: part });
  }
  return groups;
}

function build(sequences: readonly PromptedSequence[], parts: readonly Group[], size: Size): MicroBatch {
  const { groups, members, prompt: promptWidth, width } = size;
  const rows = groups * members;
  const batch: MicroBatch = {
    indices: parts.flatMap(({ indices }) => Array.from({ length: members }, (_, k) => indices[k] ?? -1)),
    ...{ groups, members, promptWidth, width },
    promptIds: new Int32Array(groups * promptWidth),
    promptLengths: new Int32Array(groups),
    completionIds: new Int32Array(rows * width),
    targets: new Int32Array(rows * width),
    mask: new Float32Array(rows * width),
  };
  for (const [group, { indices }] of parts.entries()) {
    const { prompt } = sequences[indices[0]!]!;
    batch.promptIds.set(prompt.subarray(0, -1), group * promptWidth);
    batch.promptLengths[group] = prompt.length - 1;
  }
  for (const [row, index] of batch.indices.entries()) {
    if (index < 0) continue;
    const { prompt, tokens, mask } = sequences[index]!;
    batch.completionIds[row * width] = prompt.at(-1)!;
    batch.completionIds.set(tokens.subarray(0, -1), row * width + 1);
    batch.targets.set(tokens, row * width);
    if (mask) batch.mask.set(mask, row * width);
    else batch.mask.fill(1, row * width, row * width + tokens.length);
  }
  return batch;
}

/**
 * Cuts a batch into micro-batches, short sequences first.
 * @param maxTokens most tokens in one, padding included
 */
export function microBatches(sequences: readonly PromptedSequence[], maxTokens: number): MicroBatch[] {
  const key = ({ prompt }: PromptedSequence): string =>
    Buffer.from(prompt.buffer, prompt.byteOffset, prompt.byteLength).toString('latin1');
  const ofPrompt = Map.groupBy(sequences.keys(), (index) => key(sequences[index]!));
  const groups = [...ofPrompt.values()].flatMap((indices) => cutGroup(sequences, indices, maxTokens));
  groups.sort((a, b) => a.width - b.width || a.indices.length - b.indices.length || a.prompt - b.prompt);
  const batches: MicroBatch[] = [];
  let parts: Group[] = [];
  let size: Size | null = null;
  for (const group of groups) {
    const joined: Size | null = size && together(size, group);
    const apart = size === null ? 0 : tokensOf(size) + tokensOf(sizeOf(group)) + RUN_TOKENS;
    if (joined !== null && tokensOf(joined) <= Math.min(maxTokens, apart)) {
      parts.push(group);
      size = joined;
      continue;
    }
    if (size !== null) batches.push(build(sequences, parts, size));
    parts = [group];
    size = sizeOf(group);
  }
  if (size !== null) batches.push(build(sequences, parts, size));
  return batches;
}

/** Values of a grid [rows, width] at the tokens of each sequence: (index of the sequence, values). */
export function gatherRows(
  { indices, width }: MicroBatch,
  grid: Float32Array,
  lengthOf: (index: number) => number,
): [index: number, values: Float32Array][] {
  return [...indices.entries()].flatMap(([row, index]) =>
    index < 0 ? [] : [[index, grid.slice(row * width, row * width + lengthOf(index))]],
  );
}

/** The inverse: a grid with a value for each token that counts, 0 elsewhere. `value(index, k)`: k-th token of a sequence. */
export function scatterRows(
  { indices, width, mask }: MicroBatch,
  value: (index: number, k: number) => number,
): Float32Array {
  return Float32Array.from(mask, (counts, at) => (counts ? value(indices[Math.floor(at / width)]!, at % width) : 0));
}
