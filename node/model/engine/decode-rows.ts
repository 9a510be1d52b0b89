// What the rows of a decode batch are: a prompt being read once for its whole group, or one sequence being sampled.

import type { GeneratedSequence, GenerateRequest, SamplingSettings } from '../../protocol/ports.ts';
import { type UniformStream, uniformStream } from '../../protocol/seeds.ts';
import { toBf16Bits } from '../bf16.ts';
import type { Sampler } from '../sampling/draw.ts';

/** Where a sequence's result belongs. */
export interface SequencePlace {
  readonly group: number;
  readonly index: number;
}

/** A prompt's row: reads `prompt[length]` next; its last logits start every sequence of `members`. */
export interface PromptRow {
  readonly kind: 'prompt';
  readonly request: GenerateRequest;
  readonly group: number;
  /** sequences of the group that start from this row */
  readonly members: readonly number[];
}

/** A sequence's row: reads its last token next. */
export interface SequenceRow {
  readonly kind: 'sequence';
  readonly sequence: GrowingSequence;
}

export type DecodeRow = PromptRow | SequenceRow;

/** A sequence that is being sampled, from its first token on. */
export class GrowingSequence {
  readonly place: SequencePlace;
  finish: 'eos' | 'length' | null = null;
  lastToken = 0;
  readonly #uniforms: UniformStream;
  readonly #settings: SamplingSettings;
  readonly #width: number;
  #tokens: Uint32Array<ArrayBuffer> = new Uint32Array(16);
  #logprobs: Float32Array<ArrayBuffer> = new Float32Array(16);
  #hidden: Uint16Array<ArrayBuffer>;
  #length = 0;
  #states = 0;

  constructor(place: SequencePlace, seed: Uint8Array, settings: SamplingSettings, hiddenSize: number) {
    this.place = place;
    this.#uniforms = uniformStream(seed);
    this.#settings = settings;
    this.#width = hiddenSize;
    this.#hidden = new Uint16Array(16 * hiddenSize);
  }

  /** Draws the next token from logits, f32[vocabulary]. */
  draw(logits: Float32Array, sampler: Sampler): void {
    const { token, logprob } = sampler.draw(logits, this.#uniforms.next());
    if (this.#length === this.#tokens.length) {
      this.#tokens = grown(this.#tokens, new Uint32Array(2 * this.#length));
      this.#logprobs = grown(this.#logprobs, new Float32Array(2 * this.#length));
    }
    this.#tokens[this.#length] = token;
    this.#logprobs[this.#length] = logprob;
    this.#length++;
    this.lastToken = token;
    if (this.#settings.endTokens.includes(token)) this.finish = 'eos';
    else if (this.#length >= this.#settings.maxNewTokens) this.finish = 'length';
  }

  /** Keeps the final-norm state after reading an output token, f32[hiddenSize], as bf16. */
  keepState(state: Float32Array): void {
    const at = this.#states * this.#width;
    if (at === this.#hidden.length) this.#hidden = grown(this.#hidden, new Uint16Array(2 * at));
    toBf16Bits(state, this.#hidden, at);
    this.#states++;
  }

  /** The finished sequence, in arrays of its own. */
  result(): GeneratedSequence {
    return {
      tokens: this.#tokens.slice(0, this.#length),
      logprobs: this.#logprobs.slice(0, this.#length),
      finish: this.finish ?? 'length',
      hidden: this.#hidden.slice(0, this.#states * this.#width),
    };
  }
}

function grown<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from);
  return into;
}
