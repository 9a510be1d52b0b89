// The rows of one call of `generate`, from the first prompt to the last end token: admitted while memory allows, stepped
// together, replaced as they finish. Invariants: every sequence asked for ends exactly once; rows never see each other,
// so what a sequence is depends on its prompt, seed and policy only, up to float32 rounding by batch size.

import type { Tensor } from 'onnxruntime-node';
import { SwarmError } from '../../protocol/errors.ts';
import type { DrawnToken, GeneratedSequence, GenerateRequest, SamplingSettings } from '../../protocol/ports.ts';
import type { ModelConfig } from '../config.ts';
import { prefixNames } from '../llama/completion.ts';
import { cacheNames } from '../llama/decode.ts';
import { rowOf } from '../sampling/distribution.ts';
import type { Draw } from '../sampling/draw.ts';
import type { DecodeCache } from './decode-cache.ts';
import { type DecodeRow, GrowingSequence, type PromptRow } from './decode-rows.ts';
import type { Drawing, Pick } from './drawing.ts';
import { passBytes, planPasses } from './passes.ts';
import { floatsOf, type GraphSession, intTensor, type Tensors } from './session.ts';

/** Prompts shorter than this are read step by step beside the other rows, which costs no pass of their own. */
const MIN_PREFILL_TOKENS = 4;

/** What one call of `generate` works with. */
export interface DecodeJob {
  /** from `weightFeeds` */
  readonly weights: Tensors;
  readonly sampling: SamplingSettings;
  readonly groups: readonly GenerateRequest[];
  /** asked before each step; true gives up with INTERRUPTED */
  readonly isAborted?: () => boolean;
  /** hears each token as it is drawn */
  readonly onToken?: (drawn: DrawnToken) => void;
}

/** The groups as prompt rows; a group larger than the budget is read in parts. */
function promptRows({ groups, sampling }: DecodeJob, budget: number, hiddenSize: number): PromptRow[] {
  return groups.flatMap((request, group) => {
    const sequences = request.sequenceSeeds.map(
      (seed, index) => new GrowingSequence({ group, index }, seed, sampling, hiddenSize),
    );
    const rows: PromptRow[] = [];
    for (let first = 0; first < sequences.length; first += budget) {
      rows.push({ kind: 'prompt', prompt: request.prompt, sequences: sequences.slice(first, first + budget) });
    }
    return rows;
  });
}

/** What a batch runs: `prefill` reads prompts of admitted groups in as few passes as memory allows. */
export interface DecodeSessions {
  /** of the graph that `drawing` asks for */
  readonly decode: GraphSession;
  readonly drawing: Drawing;
  readonly prefill: GraphSession;
  /** reads the rest of a prompt behind what the cache holds of it (completion.ts, `caches`) */
  readonly continued: () => Promise<GraphSession>;
  readonly activationBytes: number;
}

/** Whether the job is one turn of a conversation, whose cache may be of use to the next. */
export function isTurn({ groups }: DecodeJob): boolean {
  const [only, ...others] = groups;
  return others.length === 0 && only?.isTurn === true && only.sequenceSeeds.length === 1;
}

/** The state of one call of `generate`. */
export class DecodeBatch {
  readonly #config: ModelConfig;
  readonly #sessions: DecodeSessions;
  readonly #job: DecodeJob;
  readonly #cache: DecodeCache;
  readonly #waiting: PromptRow[];
  readonly #budget: number;
  readonly #done: GeneratedSequence[][];
  /** of a turn: tokens that it finds in the cache */
  readonly #kept: number;
  /** of a turn: tokens that the cache holds by now */
  readonly read: number[] = [];
  #rows: DecodeRow[] = [];
  #lengths: number[] = [];

  /**
   * @param cache with room for `budget` rows of the longest that a row may become; empty but for the first `kept` tokens of a turn
   * @param budget rows that may run at once
   */
  constructor(
    config: ModelConfig,
    sessions: DecodeSessions,
    job: DecodeJob,
    cache: DecodeCache,
    budget: number,
    kept = 0,
  ) {
    this.#config = config;
    this.#sessions = sessions;
    this.#job = job;
    this.#budget = budget;
    this.#cache = cache;
    this.#waiting = promptRows(job, budget, config.hiddenSize).reverse();
    this.#done = job.groups.map(() => []);
    this.#kept = kept;
    if (kept > 0) this.read.push(...job.groups[0]!.prompt.subarray(0, kept));
  }

  async run(): Promise<GeneratedSequence[][]> {
    for (;;) {
      if (this.#job.isAborted?.()) throw new SwarmError('INTERRUPTED', 'Generation was given up before it ended.');
      await this.#prefill(this.#admit());
      if (this.#rows.length === 0) return this.#done;
      await this.#step();
    }
  }

  /**
   * Lets groups in while their sequences fit: a prompt's row counts as all the sequences it will become.
   * @returns the first of the new rows
   */
  #admit(): number {
    const first = this.#rows.length;
    let reserved = 0;
    for (const row of this.#rows) reserved += row.kind === 'prompt' ? row.sequences.length : 1;
    for (let next = this.#waiting.at(-1); next !== undefined; next = this.#waiting.at(-1)) {
      if (reserved + next.sequences.length > this.#budget) break;
      reserved += next.sequences.length;
      this.#rows.push(next);
      this.#lengths.push(this.#kept);
      this.#waiting.pop();
    }
    return first;
  }

  /** Reads the prompts of rows from `first` on, all but the last token, whose logits the next step gives. */
  async #prefill(first: number): Promise<void> {
    if (this.#kept > 0) return first < this.#rows.length ? this.#continue() : undefined;
    const rows: { readonly at: number; readonly prompt: Uint32Array }[] = [];
    for (const [at, row] of this.#rows.entries()) {
      if (at < first || row.kind !== 'prompt' || row.prompt.length <= MIN_PREFILL_TOKENS) continue;
      rows.push({ at, prompt: row.prompt.subarray(0, -1) });
    }
    const lengths = rows.map(({ prompt }) => prompt.length);
    this.#cache.reserve(Math.max(0, ...lengths) + 1, first);
    const bytes = (count: number, width: number): number => passBytes(this.#config, count, width, false);
    for (const { width, members } of planPasses(lengths, bytes, this.#sessions.activationBytes)) {
      const ids = new Int32Array(members.length * width);
      for (const [row, index] of members.entries()) ids.set(rows[index]!.prompt, row * width);
      const shape = [members.length, width];
      const outputs = await this.#sessions.prefill.run({ input_ids: intTensor(ids, shape) }, this.#job.weights);
      const read = members.map((index, row) => ({ at: rows[index]!.at, row, tokens: lengths[index]! }));
      await this.#cache.fill(read, outputs, width);
      for (const { at, tokens } of read) this.#lengths[at] = tokens;
    }
    if (isTurn(this.#job)) for (const { prompt } of rows) this.read.push(...prompt);
  }

  /** The same for a turn, of which the cache holds the beginning. */
  async #continue(): Promise<void> {
    const { prompt } = this.#rows[0] as PromptRow;
    const rest = Int32Array.from(prompt.subarray(this.#kept, -1));
    if (rest.length < MIN_PREFILL_TOKENS) return;
    const held = this.#cache.feeds(1);
    const feeds: Record<string, Tensor> = {
      'prefix.of': intTensor(Int32Array.of(0), [1]),
      'prefix.lengths': intTensor(Int32Array.of(this.#kept), [1]),
      input_ids: intTensor(rest, [1, rest.length]),
    };
    for (let layer = 0; layer < this.#config.layers; layer++) {
      feeds[prefixNames(layer).key] = held[cacheNames(layer).key]!;
      feeds[prefixNames(layer).value] = held[cacheNames(layer).value]!;
    }
    const session = await this.#sessions.continued();
    const outputs = await session.run(feeds, this.#job.weights);
    this.#cache.reserve(prompt.length, 1);
    await this.#cache.fill([{ at: 0, row: 0, tokens: rest.length, behind: this.#kept }], outputs, rest.length);
    this.#lengths[0] = prompt.length - 1;
    this.read.push(...rest);
  }

  async #step(): Promise<void> {
    const count = this.#rows.length;
    const lengths = Int32Array.from(this.#lengths);
    this.#cache.reserve(Math.max(...this.#lengths) + 1, count);
    const ids = Int32Array.from(this.#rows, (row, k) =>
      row.kind === 'prompt' ? row.prompt[this.#lengths[k]!]! : row.sequence.lastToken,
    );
    const drawing = this.#drawingRows();
    const picks: Pick[] = drawing.map(({ row, sequence }) => ({ row, u: sequence.nextUniform() }));
    const feeds = {
      ...this.#cache.feeds(count),
      input_ids: intTensor(ids, [count]),
      lengths: intTensor(lengths, [count]),
      ...this.#sessions.drawing.feeds(picks),
    };
    const outputs = await this.#sessions.decode.run(feeds, this.#job.weights);
    this.#cache.accept(outputs, lengths);
    if (isTurn(this.#job)) this.read.push(ids[0]!);
    const draws = this.#sessions.drawing.draws(outputs, picks);
    for (const [k, { sequence }] of drawing.entries()) this.#give(sequence, draws[k]!);
    this.#take(count, floatsOf(outputs, 'hidden'));
    this.#compact();
  }

  /** The sequences that get a token from the next step, and the rows whose distributions they draw from. */
  #drawingRows(): { readonly row: number; readonly sequence: GrowingSequence }[] {
    return this.#rows.flatMap((each, row) => {
      if (each.kind === 'sequence') return [{ row, sequence: each.sequence }];
      return this.#lengths[row]! + 1 === each.prompt.length
        ? each.sequences.map((sequence) => ({ row, sequence }))
        : [];
    });
  }

  #give(sequence: GrowingSequence, draw: Draw): void {
    sequence.take(draw);
    this.#job.onToken?.({ ...sequence.place, token: sequence.lastToken });
  }

  /** What a step means for each of its rows, once their sequences have their tokens. */
  #take(count: number, hidden: Float32Array): void {
    for (let k = 0; k < count; k++) {
      const row = this.#rows[k]!;
      this.#lengths[k]!++;
      if (row.kind === 'sequence') row.sequence.keepState(rowOf(hidden, k, this.#config.hiddenSize));
      else if (this.#lengths[k] === row.prompt.length) this.#fork(k, row);
    }
  }

  /** Turns a prompt that was read whole into its sequences, which have a first token, each with a copy of the cache. */
  #fork(at: number, { sequences }: PromptRow): void {
    const length = this.#lengths[at]!;
    let place: number = at;
    for (const sequence of sequences) {
      if (sequence.finish !== null) {
        this.#finish(sequence);
        continue;
      }
      if (place !== at) this.#cache.copyRow(at, place, length);
      this.#rows[place] = { kind: 'sequence', sequence };
      this.#lengths[place] = length;
      place = this.#rows.length;
    }
    if (place === at) this.#lengths[at] = -1; // every sequence ended with its first token
  }

  #finish(sequence: GrowingSequence): void {
    const { group, index } = sequence.place;
    const result = sequence.result();
    const promptTokensRead = this.#job.groups[group]!.prompt.length - this.#kept;
    this.#done[group]![index] = isTurn(this.#job) ? { ...result, promptTokensRead } : result;
  }

  /** Takes finished rows out; the last row moves into each gap, so the rows in use stay 0 … n−1. */
  #compact(): void {
    for (let k = this.#rows.length - 1; k >= 0; k--) {
      const row = this.#rows[k]!;
      const ended = row.kind === 'sequence' ? row.sequence.finish !== null : this.#lengths[k] === -1;
      if (!ended) continue;
      if (row.kind === 'sequence') this.#finish(row.sequence);
      const last = this.#rows.length - 1;
      if (k !== last) {
        this.#cache.copyRow(last, k, this.#lengths[last]!);
        this.#rows[k] = this.#rows[last]!;
        this.#lengths[k] = this.#lengths[last]!;
      }
      this.#rows.pop();
      this.#lengths.pop();
    }
  }
}
