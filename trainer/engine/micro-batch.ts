// Ragged sequences into padded rectangles: sorted by length, cut by a budget of padded tokens.
// Invariant: every sequence lies in exactly one micro-batch; a sequence longer than the budget has one of its own.

/** Tokens of one sequence and which of them are predicted and counted (`mask[t]` is about `tokens[t]`). */
export interface MaskedSequence {
  readonly tokens: Uint32Array;
  readonly mask: Uint8Array;
}

/** A rectangle [rows, width]; column t reads token t and predicts token t + 1. */
export interface MicroBatch {
  /** which sequence of the batch each row is */
  readonly indices: readonly number[];
  readonly width: number;
  readonly inputIds: Int32Array;
  readonly targets: Int32Array;
  readonly mask: Float32Array;
  /** for each row, the columns that count */
  readonly columns: readonly Int32Array[];
}

function build(sequences: readonly MaskedSequence[], indices: readonly number[]): MicroBatch {
  const width = Math.max(...indices.map((index) => sequences[index]!.tokens.length - 1));
  const size = indices.length * width;
  const batch = { inputIds: new Int32Array(size), targets: new Int32Array(size), mask: new Float32Array(size) };
  const columns = indices.map((index, row) => {
    const { tokens, mask } = sequences[index]!;
    const counted: number[] = [];
    for (let t = 0; t + 1 < tokens.length; t++) {
      batch.inputIds[row * width + t] = tokens[t]!;
      batch.targets[row * width + t] = tokens[t + 1]!;
      if (mask[t + 1] !== 1) continue;
      batch.mask[row * width + t] = 1;
      counted.push(t);
    }
    return Int32Array.from(counted);
  });
  return { indices, width, ...batch, columns };
}

/**
 * Cuts a batch into micro-batches, short sequences first.
 * @param maxTokens most padded tokens in one, rows · width
 */
export function microBatches(sequences: readonly MaskedSequence[], maxTokens: number): MicroBatch[] {
  const order = sequences.map((_, index) => index);
  order.sort((a, b) => sequences[a]!.tokens.length - sequences[b]!.tokens.length || a - b);
  const batches: MicroBatch[] = [];
  let rows: number[] = [];
  for (const index of order) {
    const width = sequences[index]!.tokens.length - 1;
    if (rows.length > 0 && (rows.length + 1) * width > maxTokens) {
      batches.push(build(sequences, rows));
      rows = [];
    }
    rows.push(index);
  }
  if (rows.length > 0) batches.push(build(sequences, rows));
  return batches;
}

/** Values of a grid [rows, width] at the columns that count, one array a row. */
export function gatherRows(batch: MicroBatch, grid: Float32Array): Float32Array[] {
  return batch.columns.map((columns, row) => {
    const out = new Float32Array(columns.length);
    for (let k = 0; k < columns.length; k++) out[k] = grid[row * batch.width + columns[k]!]!;
    return out;
  });
}

/** The inverse: a grid with a value for each counted column, 0 elsewhere. `value(index, k)`: k-th counted token of a sequence. */
export function scatterRows(batch: MicroBatch, value: (index: number, k: number) => number): Float32Array {
  const grid = new Float32Array(batch.mask.length);
  batch.columns.forEach((columns, row) => {
    for (let k = 0; k < columns.length; k++) grid[row * batch.width + columns[k]!] = value(batch.indices[row]!, k);
  });
  return grid;
}
