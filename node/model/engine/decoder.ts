// Batched generation: several groups in flight, a prompt read once for its whole group, finished rows replaced at once.
// Knows token ids and nothing else. Invariants: every sequence asked for ends exactly once; what a sequence is depends on
// its prompt, seed and policy only (rows never see each other), up to float32 rounding by batch size.

import { SwarmError } from '../../protocol/errors.ts';
import type { GeneratedSequence, GenerateRequest, SamplingSettings } from '../../protocol/ports.ts';
import type { ModelConfig } from '../config.ts';
import { buildDecodeGraph, cacheNames } from '../llama/decode.ts';
import { rowOf } from '../sampling/distribution.ts';
import { createSampler, type Sampler } from '../sampling/draw.ts';
import { type DecodeRow, GrowingSequence, type PromptRow } from './decode-rows.ts';
import { bucketFor, createKeyValueCache, type KeyValueCache, rowBytes } from './kv-cache.ts';
import { createGraphSession, floatsOf, floatTensor, type GraphSession, intTensor, type Tensors } from './session.ts';

/** More rows than this win nothing on a CPU and cost latency. */
const MAX_ROWS = 256;

export interface DecoderInit {
  readonly threads: number;
  /** bytes that the key/value cache may take */
  readonly cacheBytes: number;
}

/** What one call of `generate` works with. */
export interface DecodeJob {
  /** from `weightFeeds` */
  readonly weights: Tensors;
  readonly sampling: SamplingSettings;
  readonly groups: readonly GenerateRequest[];
  /** asked before each step; true gives up with INTERRUPTED */
  readonly isAborted?: () => boolean;
}

/** Generates with any policy of one config: the weights are inputs. */
export interface Decoder {
  /** @returns for each group, for each seed, its sequence. @throws {SwarmError} MALFORMED, TOO_LARGE, OUT_OF_MEMORY_BUDGET, INTERRUPTED, ENGINE_FAILED */
  generate(job: DecodeJob): Promise<GeneratedSequence[][]>;
  dispose(): Promise<void>;
}

/** Checks a prompt before any of it reaches a session. @throws {SwarmError} MALFORMED, TOO_LARGE */
export function checkTokens(config: ModelConfig, tokens: Uint32Array, totalTokens: number): void {
  const wrong = tokens.findIndex((id) => id >= config.vocabSize);
  if (tokens.length === 0 || wrong >= 0) {
    throw new SwarmError('MALFORMED', `A prompt needs at least one token, all ids below ${config.vocabSize}.`, {
      tokens: tokens.length,
    });
  }
  if (totalTokens > config.maxPositions) {
    throw new SwarmError(
      'TOO_LARGE',
      `${totalTokens} tokens, prompt and completion, exceed the model's ${config.maxPositions} positions; shorten one.`,
      { tokens: totalTokens, positions: config.maxPositions },
    );
  }
}

/** Rows that may run at once, when each may grow to `tokens`. @throws {SwarmError} OUT_OF_MEMORY_BUDGET */
function rowBudget(config: ModelConfig, tokens: number, cacheBytes: number): number {
  const bytes = rowBytes(config, bucketFor(tokens));
  const rows = Math.min(MAX_ROWS, Math.floor(cacheBytes / bytes));
  if (rows < 1) {
    throw new SwarmError(
      'OUT_OF_MEMORY_BUDGET',
      `One sequence of ${tokens} tokens needs ${bytes} bytes of cache, the budget is ${cacheBytes}; raise it.`,
      { bytes, budget: cacheBytes },
    );
  }
  return rows;
}

/** The groups as prompt rows; a group larger than the budget is read in parts. */
function promptRows(groups: readonly GenerateRequest[], budget: number): PromptRow[] {
  return groups.flatMap((request, group) => {
    const rows: PromptRow[] = [];
    for (let first = 0; first < request.sequenceSeeds.length; first += budget) {
      const count = Math.min(budget, request.sequenceSeeds.length - first);
      rows.push({ kind: 'prompt', request, group, members: Array.from({ length: count }, (_, k) => first + k) });
    }
    return rows;
  });
}

/** The state of one call of `generate`. */
class Batch {
  readonly #config: ModelConfig;
  readonly #session: GraphSession;
  readonly #job: DecodeJob;
  readonly #sampler: Sampler;
  readonly #cache: KeyValueCache;
  readonly #waiting: PromptRow[];
  readonly #budget: number;
  readonly #done: GeneratedSequence[][];
  #rows: DecodeRow[] = [];
  #lengths: number[] = [];

  /** @param maxTokens the longest that a row may become */
  constructor(config: ModelConfig, session: GraphSession, job: DecodeJob, budget: number, maxTokens: number) {
    this.#config = config;
    this.#session = session;
    this.#job = job;
    this.#budget = budget;
    this.#sampler = createSampler(job.sampling, Math.min(job.sampling.tokenCount, config.vocabSize));
    const sequences = job.groups.reduce((sum, { sequenceSeeds }) => sum + sequenceSeeds.length, 0);
    this.#cache = createKeyValueCache(config, Math.min(budget, sequences), maxTokens);
    this.#waiting = promptRows(job.groups, budget).reverse();
    this.#done = job.groups.map(() => []);
  }

  async run(): Promise<GeneratedSequence[][]> {
    for (;;) {
      if (this.#job.isAborted?.()) throw new SwarmError('INTERRUPTED', 'Generation was given up before it ended.');
      this.#admit();
      if (this.#rows.length === 0) return this.#done;
      await this.#step();
    }
  }

  /** Lets groups in while their sequences fit: a prompt's row counts as all the sequences it will become. */
  #admit(): void {
    let reserved = 0;
    for (const row of this.#rows) reserved += row.kind === 'prompt' ? row.members.length : 1;
    for (let next = this.#waiting.at(-1); next !== undefined; next = this.#waiting.at(-1)) {
      if (reserved + next.members.length > this.#budget) break;
      reserved += next.members.length;
      this.#rows.push(next);
      this.#lengths.push(0);
      this.#waiting.pop();
    }
  }

  async #step(): Promise<void> {
    const count = this.#rows.length;
    const lengths = Int32Array.from(this.#lengths);
    this.#cache.reserve(Math.max(...this.#lengths) + 1, count);
    const ids = Int32Array.from(this.#rows, (row, k) =>
      row.kind === 'prompt' ? row.request.prompt[this.#lengths[k]!]! : row.sequence.lastToken,
    );
    const outputs = await this.#session.run(this.#feeds(ids, lengths));
    for (let layer = 0; layer < this.#config.layers; layer++) {
      const names = cacheNames(layer);
      this.#cache.append('keys', layer, floatsOf(outputs, names.newKey), lengths);
      this.#cache.append('values', layer, floatsOf(outputs, names.newValue), lengths);
    }
    this.#take(count, floatsOf(outputs, 'logits'), floatsOf(outputs, 'hidden'));
    this.#compact();
  }

  #feeds(ids: Int32Array, lengths: Int32Array): Tensors {
    const { layers, keyValueHeads, headDim } = this.#config;
    const feeds: Record<string, Tensors[string]> = { ...this.#job.weights };
    const count = ids.length;
    const shape = [count, keyValueHeads, this.#cache.capacity, headDim];
    feeds.input_ids = intTensor(ids, [count]);
    feeds.lengths = intTensor(lengths, [count]);
    for (let layer = 0; layer < layers; layer++) {
      const names = cacheNames(layer);
      feeds[names.key] = floatTensor(this.#cache.keys(layer, count), shape);
      feeds[names.value] = floatTensor(this.#cache.values(layer, count), shape);
    }
    return feeds;
  }

  /** What a step's outputs mean for each of its rows. */
  #take(count: number, logits: Float32Array, hidden: Float32Array): void {
    const { vocabSize, hiddenSize } = this.#config;
    for (let k = 0; k < count; k++) {
      const row = this.#rows[k]!;
      this.#lengths[k]!++;
      if (row.kind === 'sequence') {
        row.sequence.keepState(rowOf(hidden, k, hiddenSize));
        row.sequence.draw(rowOf(logits, k, vocabSize), this.#sampler);
      } else if (this.#lengths[k] === row.request.prompt.length) {
        this.#fork(k, row, rowOf(logits, k, vocabSize));
      }
    }
  }

  /** Turns a prompt that was read whole into its sequences, each with a first token and a copy of the cache. */
  #fork(at: number, row: PromptRow, logits: Float32Array): void {
    const length = this.#lengths[at]!;
    let place: number = at;
    for (const index of row.members) {
      const seed = row.request.sequenceSeeds[index]!;
      const sequence = new GrowingSequence(
        { group: row.group, index },
        seed,
        this.#job.sampling,
        this.#config.hiddenSize,
      );
      sequence.draw(logits, this.#sampler);
      if (sequence.finish !== null) {
        this.#finish(sequence);
        continue;
      }
      if (place !== at) this.#cache.copyRow(at, place, length);
      this.#rows[place] = { kind: 'sequence', sequence };
      this.#lengths[place] = length;
      place = this.#rows.length;
    }
    if (this.#rows[at] === row) this.#lengths[at] = -1; // every sequence ended with its first token
  }

  #finish(sequence: GrowingSequence): void {
    this.#done[sequence.place.group]![sequence.place.index] = sequence.result();
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

/** A decoder of one config: one session, whichever policy it runs. */
export async function createDecoder(config: ModelConfig, init: DecoderInit): Promise<Decoder> {
  const session = await createGraphSession(buildDecodeGraph(config), init.threads);
  return {
    generate: async (job) => {
      const { maxNewTokens } = job.sampling;
      let longest = 0;
      for (const { prompt } of job.groups) {
        checkTokens(config, prompt, prompt.length + maxNewTokens);
        longest = Math.max(longest, prompt.length);
      }
      if (job.groups.length === 0) return [];
      const maxTokens = longest + maxNewTokens;
      return new Batch(config, session, job, rowBudget(config, maxTokens, init.cacheBytes), maxTokens).run();
    },
    dispose: () => session.dispose(),
  };
}
