// Replay: teacher-forced passes over prompt and completion answer what a verifier and a trainer ask of a rollout
// (spec/rollouts.md, "Replay"): log-probs, each token's place in the CDF, final-norm states. A prompt is read once for all
// sequences of a call that share it, all but its last token, which is the first that a completion's pass reads.
// Without cuts the graph sums the CDF itself, float32 terms, and the sums are normalised here in float64; with top-k or
// top-p the logits come out in chunks and the float64 reference sampler looks at them.

import { SwarmError } from '../../protocol/errors.ts';
import type { ReplayedSequence, ReplayRequest, SamplingSettings } from '../../protocol/ports.ts';
import { toBf16Bits } from '../bf16.ts';
import type { ModelConfig } from '../config.ts';
import type { Placement } from '../device.ts';
import { buildCompletionGraph, prefixNames } from '../llama/completion.ts';
import { cacheNames } from '../llama/decode.ts';
import { buildPrefillGraph } from '../llama/prefill.ts';
import { paddedVocabularyMask } from '../llama/scoring.ts';
import { checkSum, hasCut, logProbability, softmax } from '../sampling/distribution.ts';
import { cutIntervals } from '../sampling/near-cut.ts';
import { checkTokens } from './decoder.ts';
import { completionBytes, type Pass, passBytes, planPasses } from './passes.ts';
import { createGraphSession, floatsOf, floatTensor, type GraphSession, intTensor, type Tensors } from './session.ts';

/** How near a cut a second interval is given; the δ of spec/rollouts.md. */
const CUT_DELTA = 1e-4;

export interface ReplayerInit extends Placement {
  /** bytes that one pass's activations may take, by a rough count */
  readonly activationBytes: number;
  /** δ within which the other side of a cut counts as well; default 1e-4 */
  readonly cutDelta?: number;
}

export interface ReplayJob {
  /** from `weightFeeds` */
  readonly weights: Tensors;
  readonly sampling: SamplingSettings;
  readonly sequences: readonly ReplayRequest[];
  /** asked before each pass; true gives up with INTERRUPTED */
  readonly isAborted?: () => boolean;
}

/** Replays with any policy of one config. */
export interface Replayer {
  /** @returns one answer a sequence, in order. @throws {SwarmError} MALFORMED, TOO_LARGE, INTERRUPTED, ENGINE_FAILED */
  replay(job: ReplayJob): Promise<ReplayedSequence[]>;
  dispose(): Promise<void>;
}

/** Prompts of one pass, read: `of` says at which of them a sequence continues. */
interface Prefix {
  readonly feeds: Tensors;
  /** tokens that each is padded to */
  readonly width: number;
  /** index of a sequence → row of its prompt */
  readonly of: ReadonlyMap<number, number>;
}

/** A prompt and the sequences that continue it, by index. */
interface PromptGroup {
  readonly prompt: Uint32Array;
  readonly members: number[];
}

/** Sequences by prompt, equal ones together whoever sent them. */
function byPrompt(sequences: readonly ReplayRequest[]): PromptGroup[] {
  const groups = new Map<string, PromptGroup>();
  for (const [index, { prompt }] of sequences.entries()) {
    const key = prompt.join();
    const group = groups.get(key) ?? { prompt, members: [] };
    groups.set(key, group);
    group.members.push(index);
  }
  return [...groups.values()];
}

/** What a completion's pass is fed of each sequence: all but its last token, which nothing follows; right-padded with 0. */
function completionInputs(sequences: readonly ReplayRequest[], { width, members }: Pass): Tensors {
  const ids = new Int32Array(members.length * width);
  const targets = new Int32Array(members.length * width);
  members.forEach((index, row) => {
    const { prompt, tokens } = sequences[index]!;
    ids[row * width] = prompt.at(-1)!;
    ids.set(tokens.subarray(0, -1), row * width + 1);
    targets.set(tokens, row * width);
  });
  const shape = [members.length, width];
  return { input_ids: intTensor(ids, shape), targets: intTensor(targets, shape) };
}

/** bf16 states after reading output tokens 1 … n−1. `first` is the row of the first of them in `hidden`. */
function statesOf(hidden: Float32Array, first: number, count: number, hiddenSize: number): Uint16Array {
  return toBf16Bits(hidden.subarray(first * hiddenSize, (first + count) * hiddenSize));
}

/** Room for one sequence's answers. */
function emptyAnswer(count: number): {
  logprobs: Float32Array;
  below: Float64Array;
  upTo: Float64Array;
  alternatives: { position: number; below: number; upTo: number }[];
} {
  return {
    logprobs: new Float32Array(count),
    below: new Float64Array(count),
    upTo: new Float64Array(count),
    alternatives: [],
  };
}

/** Answers from the graph's own sums, normalised by below + probability + above in float64. */
function fromSums(outputs: Tensors, first: number, count: number): Omit<ReplayedSequence, 'hidden'> {
  const answer = emptyAnswer(count);
  const [below, probability, above] = ['below', 'probability', 'above'].map((name) => floatsOf(outputs, name));
  const logprobs = floatsOf(outputs, 'logprobs');
  for (let t = 0; t < count; t++) {
    const [x, p, z] = [below![first + t]!, probability![first + t]!, above![first + t]!];
    const total = x + p + z;
    checkSum(total);
    answer.below[t] = x / total;
    answer.upTo[t] = z > 0 ? (x + p) / total : 1;
    answer.logprobs[t] = p > 1e-30 ? Math.log(p / total) : logprobs[first + t]!;
  }
  return answer;
}

/** Answers from logits, by the float64 reference. `scratch` is f64[tokenCount]. */
function fromLogits(
  logits: Float32Array,
  first: number,
  tokens: Uint32Array,
  sampling: SamplingSettings,
  vocabSize: number,
  scratch: Float64Array,
  delta: number,
): Omit<ReplayedSequence, 'hidden'> {
  const answer = emptyAnswer(tokens.length);
  for (const [t, token] of tokens.entries()) {
    const row = logits.subarray((first + t) * vocabSize, (first + t + 1) * vocabSize);
    const p = softmax(row, sampling.temperature, scratch.length, scratch);
    const found = cutIntervals(p, sampling, token, delta);
    answer.below[t] = found.below;
    answer.upTo[t] = found.upTo;
    answer.logprobs[t] = logProbability(row, sampling.temperature, scratch.length, token);
    for (const { below, upTo } of found.alternatives) answer.alternatives.push({ position: t, below, upTo });
  }
  return answer;
}

function checkSequence(config: ModelConfig, sampling: SamplingSettings, { prompt, tokens }: ReplayRequest): void {
  checkTokens(config, prompt, prompt.length + tokens.length);
  if (tokens.length === 0 || tokens.some((id) => id >= sampling.tokenCount)) {
    throw new SwarmError('MALFORMED', `A completion needs at least one token, all ids below ${sampling.tokenCount}.`, {
      tokens: tokens.length,
    });
  }
}

/** What completions of one call are asked, and how. */
interface Question {
  readonly output: 'scores' | 'logits';
  readonly tokenCount: number;
  /** beside ids and prefix */
  readonly feeds: Tensors;
}

function questionOf(config: ModelConfig, sampling: SamplingSettings): Question {
  const tokenCount = Math.min(sampling.tokenCount, config.vocabSize);
  if (hasCut(sampling, tokenCount)) return { output: 'logits', tokenCount, feeds: {} };
  const mask = paddedVocabularyMask(config, tokenCount) ?? new Float32Array(config.vocabSize);
  return {
    output: 'scores',
    tokenCount,
    feeds: {
      temperature: floatTensor(Float32Array.of(sampling.temperature), []),
      vocabulary_mask: floatTensor(mask, [config.vocabSize]),
    },
  };
}

/** A replayer of one config. Its sessions are built when first needed. */
export function createReplayer(config: ModelConfig, init: ReplayerInit): Replayer {
  const sessions = new Map<string, Promise<GraphSession>>();
  const sessionFor = (kind: 'prompts' | Question['output']): Promise<GraphSession> => {
    const known = sessions.get(kind);
    if (known !== undefined) return known;
    const graph =
      kind === 'prompts'
        ? buildPrefillGraph(config, { hidden: false, caches: true })
        : buildCompletionGraph(config, kind);
    const created = createGraphSession(graph, init);
    sessions.set(kind, created);
    return created;
  };

  const readPrompts = async (job: ReplayJob, groups: readonly PromptGroup[], pass: Pass): Promise<Prefix> => {
    const { width, members } = pass;
    const ids = new Int32Array(members.length * width);
    const lengths = new Int32Array(members.length);
    const of = new Map<number, number>();
    members.forEach((index, row) => {
      const { prompt, members: sequences } = groups[index]!;
      ids.set(prompt.subarray(0, -1), row * width);
      lengths[row] = prompt.length - 1;
      for (const sequence of sequences) of.set(sequence, row);
    });
    const session = await sessionFor('prompts');
    const outputs = await session.run({ input_ids: intTensor(ids, [members.length, width]) }, job.weights);
    const feeds: Record<string, Tensors[string]> = { 'prefix.lengths': intTensor(lengths, [members.length]) };
    for (let layer = 0; layer < config.layers; layer++) {
      feeds[prefixNames(layer).key] = outputs[cacheNames(layer).newKey]!;
      feeds[prefixNames(layer).value] = outputs[cacheNames(layer).newValue]!;
    }
    return { feeds, width, of };
  };

  const readCompletions = async (
    job: ReplayJob,
    question: Question,
    prefix: Prefix,
    pass: Pass,
    answers: ReplayedSequence[],
  ): Promise<void> => {
    const session = await sessionFor(question.output);
    const { input_ids, targets } = completionInputs(job.sequences, pass);
    const of = Int32Array.from(pass.members, (index) => prefix.of.get(index)!);
    const outputs = await session.run(
      {
        ...prefix.feeds,
        ...question.feeds,
        'prefix.of': intTensor(of, [of.length]),
        input_ids: input_ids!,
        ...(question.output === 'scores' ? { targets: targets! } : {}),
      },
      job.weights,
    );
    const hidden = floatsOf(outputs, 'hidden');
    const scratch = new Float64Array(question.tokenCount);
    const delta = init.cutDelta ?? CUT_DELTA;
    pass.members.forEach((index, row) => {
      const { tokens } = job.sequences[index]!;
      const first = row * pass.width;
      const answer =
        question.output === 'logits'
          ? fromLogits(floatsOf(outputs, 'logits'), first, tokens, job.sampling, config.vocabSize, scratch, delta)
          : fromSums(outputs, first, tokens.length);
      answers[index] = { ...answer, hidden: statesOf(hidden, first + 1, tokens.length - 1, config.hiddenSize) };
    });
  };

  const checkAborted = ({ isAborted }: ReplayJob): void => {
    if (isAborted?.()) throw new SwarmError('INTERRUPTED', 'Replay was given up before it ended.');
  };
  /** prompts that are kept while their completions are read get one half, completions the other */
  const budget = init.activationBytes / 2;

  return {
    replay: async (job) => {
      for (const sequence of job.sequences) checkSequence(config, job.sampling, sequence);
      const question = questionOf(config, job.sampling);
      const answers: ReplayedSequence[] = new Array(job.sequences.length);
      const groups = byPrompt(job.sequences);
      const promptTokens = groups.map(({ prompt }) => Math.max(1, prompt.length - 1));
      const promptBytes = (rows: number, width: number): number => passBytes(config, rows, width, false);
      for (const prompts of planPasses(promptTokens, promptBytes, budget)) {
        checkAborted(job);
        const prefix = await readPrompts(job, groups, prompts);
        const indices = [...prefix.of.keys()];
        const bytes = (rows: number, width: number): number => completionBytes(config, rows, width, prefix.width);
        const lengths = indices.map((index) => job.sequences[index]!.tokens.length);
        for (const { width, members } of planPasses(lengths, bytes, budget)) {
          checkAborted(job);
          const pass = { width, members: members.map((k) => indices[k]!) };
          await readCompletions(job, question, prefix, pass, answers);
        }
      }
      return answers;
    },
    dispose: async () => {
      for (const session of sessions.values()) await (await session).dispose();
      sessions.clear();
    },
  };
}
