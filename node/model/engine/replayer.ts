// Replay: one teacher-forced pass over prompt + completion answers what a verifier and a trainer ask of a rollout
// (spec/rollouts.md, "Replay"): log-probs, each token's place in the CDF, final-norm states.
// Without cuts the graph sums the CDF itself, float32 terms, and the sums are normalised here in float64; with top-k or
// top-p the logits come out in chunks and the float64 reference sampler looks at them.

import { SwarmError } from '../../protocol/errors.ts';
import type { ReplayedSequence, ReplayRequest, SamplingSettings } from '../../protocol/ports.ts';
import { toBf16Bits } from '../bf16.ts';
import type { ModelConfig } from '../config.ts';
import type { Placement } from '../device.ts';
import { buildPrefillGraph } from '../llama/prefill.ts';
import { paddedVocabularyMask } from '../llama/scoring.ts';
import { checkSum, hasCut, logProbability, softmax } from '../sampling/distribution.ts';
import { cutIntervals } from '../sampling/near-cut.ts';
import { checkTokens } from './decoder.ts';
import { type Pass, passBytes, planPasses } from './passes.ts';
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

/** Tokens that are fed: all but the last, which nothing follows. */
const fedTokens = ({ prompt, tokens }: ReplayRequest): number => prompt.length + tokens.length - 1;

/** Inputs of a pass: fed tokens and what follows each, right-padded with 0. */
function passInputs(sequences: readonly ReplayRequest[], { width, members }: Pass): Tensors {
  const ids = new Int32Array(members.length * width);
  const targets = new Int32Array(members.length * width);
  members.forEach((index, row) => {
    const { prompt, tokens } = sequences[index]!;
    const all = new Int32Array(prompt.length + tokens.length);
    all.set(prompt);
    all.set(tokens, prompt.length);
    ids.set(all.subarray(0, -1), row * width);
    targets.set(all.subarray(1), row * width);
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

/** A replayer of one config. Its sessions are built when first needed. */
export function createReplayer(config: ModelConfig, init: ReplayerInit): Replayer {
  const sessions = new Map<'sums' | 'logits', Promise<GraphSession>>();
  const sessionFor = (kind: 'sums' | 'logits'): Promise<GraphSession> => {
    const known = sessions.get(kind);
    if (known !== undefined) return known;
    const graph = buildPrefillGraph(config, kind === 'sums' ? { scores: true } : { logits: 'all' });
    const created = createGraphSession(graph, init);
    sessions.set(kind, created);
    return created;
  };

  const runPass = async (job: ReplayJob, pass: Pass, answers: ReplayedSequence[]): Promise<void> => {
    const { sampling } = job;
    const tokenCount = Math.min(sampling.tokenCount, config.vocabSize);
    const byLogits = hasCut(sampling, tokenCount);
    const session = await sessionFor(byLogits ? 'logits' : 'sums');
    const { input_ids, targets } = passInputs(job.sequences, pass);
    const mask = paddedVocabularyMask(config, tokenCount) ?? new Float32Array(config.vocabSize);
    const sums = {
      targets: targets!,
      temperature: floatTensor(Float32Array.of(sampling.temperature), []),
      vocabulary_mask: floatTensor(mask, [config.vocabSize]),
    };
    const outputs = await session.run({ input_ids: input_ids!, ...(byLogits ? {} : sums) }, job.weights);
    const hidden = floatsOf(outputs, 'hidden');
    const scratch = new Float64Array(tokenCount);
    pass.members.forEach((index, row) => {
      const { prompt, tokens } = job.sequences[index]!;
      const first = row * pass.width + prompt.length - 1;
      const answer = byLogits
        ? fromLogits(
            floatsOf(outputs, 'logits'),
            first,
            tokens,
            sampling,
            config.vocabSize,
            scratch,
            init.cutDelta ?? CUT_DELTA,
          )
        : fromSums(outputs, first, tokens.length);
      answers[index] = { ...answer, hidden: statesOf(hidden, first + 1, tokens.length - 1, config.hiddenSize) };
    });
  };

  return {
    replay: async (job) => {
      for (const sequence of job.sequences) checkSequence(config, job.sampling, sequence);
      const answers: ReplayedSequence[] = new Array(job.sequences.length);
      const bytes = (rows: number, width: number): number => passBytes(config, rows, width, true);
      for (const pass of planPasses(job.sequences.map(fedTokens), bytes, init.activationBytes)) {
        if (job.isAborted?.()) throw new SwarmError('INTERRUPTED', 'Replay was given up before it ended.');
        await runPass(job, pass, answers);
      }
      return answers;
    },
    dispose: async () => {
      for (const session of sessions.values()) await (await session).dispose();
      sessions.clear();
    },
  };
}
