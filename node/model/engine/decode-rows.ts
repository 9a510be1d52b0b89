// What the rows of a decode batch are: a prompt being read once for its whole group, or one sequence being sampled.

import type { GeneratedSequence, SamplingSettings } from '../../protocol/ports.ts';
import { type UniformStream, uniformStream } from '../../protocol/seeds.ts';
import { toBf16Bits } from '../bf16.ts';
import type { Draw } from '../sampling/draw.ts';

/** Where a sequence's result belongs. */
export interface SequencePlace {
  readonly group: number;
  readonly index: number;
}

/** A prompt's row: reads `prompt[length]` next; what follows its last token starts every one of `sequences`. */
export interface PromptRow {
  readonly kind: 'prompt';
  readonly prompt: Uint32Array;
  /** those of its group that start from this row */
  readonly sequences: readonly GrowingSequence[];
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

  /** The number that draws the next token; each is asked for once. */
  nextUniform(): number {
    return this.#uniforms.next();
  }

  take({ token, logprob }: Draw): void {
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
