// Rollouts beside transformers.js on the same weights, exported by us: tokens/s of sampled generation by batch size, each
// beside the other in every round. Ours draws from the whole distribution and keeps log-probs and states; transformers.js
// samples as it does by default, from the 50 likeliest. And what sharing a prompt is worth: the first token of a group; and how near
// one sequence of the 135 M shape comes to the speed of memory, which no f32 engine passes, transformers.js neither.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AutoModelForCausalLM, env, type PreTrainedModel, Tensor } from '@huggingface/transformers';
import { writeOnnxFiles } from '../../node/model/export/onnx.ts';
import type { RandomModel } from '../support/random-model.ts';
import { createGeneration, type GenerationSize } from './generation.ts';
import { type BenchContext, type Benchmark, median, medianRatio, type Row, rounds, row } from './harness.ts';
import { largeModel, mediumModel, parameterCount } from './shapes.ts';

/** One batch size, and what its ratio (or our own figure) is held to. */
interface Comparison {
  readonly batch: number;
  readonly newTokens: number;
  readonly rounds: number;
  /** least ratio to transformers.js; without one our figure stands alone */
  readonly atLeast?: number;
  /** least tokens/s of ours */
  readonly tokensPerSecond?: number;
}

const PROMPT_TOKENS = 32;
const GROUP_SIZE = 16;
const MEDIUM: readonly Comparison[] = [
  { batch: 1, newTokens: 128, rounds: 5, atLeast: 2 },
  { batch: 8, newTokens: 128, rounds: 3, atLeast: 3 },
  { batch: 64, newTokens: 128, rounds: 2, atLeast: 5 },
];
const LARGE: readonly Comparison[] = [
  { batch: 1, newTokens: 32, rounds: 3, atLeast: 1.4 },
  { batch: 8, newTokens: 32, rounds: 2, atLeast: 2.5 },
  { batch: 64, newTokens: 32, rounds: 2, tokensPerSecond: 450 },
];
const SHARED_PROMPT_TOKENS = 512;
const SHARING_GAIN = 5;
const READ_BYTES = 2 ** 28;

/** No id: nothing ends early. */
const NO_END = -1;

/** What transformers.js is asked for: `batch` prompts of one length. */
function peerRun(model: PreTrainedModel, vocabSize: number, { batch, newTokens }: Comparison): () => Promise<unknown> {
  const shape = [batch, PROMPT_TOKENS];
  const count = batch * PROMPT_TOKENS;
  const ids = BigInt64Array.from({ length: count }, (_, k) => BigInt((7 * k + 3) % vocabSize));
  const request = {
    inputs: new Tensor('int64', ids, shape),
    attention_mask: new Tensor('int64', new BigInt64Array(count).fill(1n), shape),
    max_new_tokens: newTokens,
    do_sample: true,
    eos_token_id: NO_END,
  };
  return () => model.generate(request as Parameters<typeof model.generate>[0]);
}

async function compare(
  name: string,
  model: RandomModel,
  peer: PreTrainedModel,
  comparison: Comparison,
  threads: number,
): Promise<Row> {
  const { batch, newTokens, atLeast, tokensPerSecond } = comparison;
  const groupSize = Math.min(batch, GROUP_SIZE);
  const size: GenerationSize = { groups: batch / groupSize, groupSize, promptTokens: PROMPT_TOKENS, newTokens };
  const generation = await createGeneration(model, size, threads);
  const theirs = peerRun(peer, model.config.vocabSize, comparison);
  const perSecond = (times: readonly number[]): number => generation.tokens / (median(times) / 1000);
  const title = `rollouts: ${name}, batch ${batch}`;
  try {
    if (atLeast === undefined) {
      const times = await rounds({ ours: generation.run }, comparison.rounds);
      const target = { of: 'value', atLeast: tokensPerSecond! } as const;
      return row({ name: title, value: perSecond(times.ours), unit: 'tokens/s', target });
    }
    const times = await rounds({ ours: generation.run, theirs }, comparison.rounds);
    return row({
      name: title,
      value: perSecond(times.ours),
      unit: 'tokens/s',
      peer: 'transformers.js',
      peerValue: perSecond(times.theirs),
      ratio: medianRatio(times.theirs, times.ours),
      target: { of: 'ratio', atLeast },
    });
  } finally {
    await generation.dispose();
  }
}

async function compareAll(
  name: string,
  model: RandomModel,
  comparisons: readonly Comparison[],
  threads: number,
): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'murmur-bench-'));
  try {
    await writeOnnxFiles(dir, { ...model, files: new Map() });
    const peer = await AutoModelForCausalLM.from_pretrained(dir, {
      device: 'cpu',
      dtype: 'fp32',
      session_options: { intraOpNumThreads: threads },
    });
    try {
      const rows: Row[] = [];
      for (const comparison of comparisons) rows.push(await compare(name, model, peer, comparison, threads));
      return rows;
    } finally {
      await peer.dispose();
    }
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Milliseconds to the first new token of 16 sequences: of one prompt, and of 16 prompts, all read by our engine. */
async function promptSharing(threads: number): Promise<Row> {
  const { config, ...rest } = mediumModel();
  const model = { ...rest, config: { ...config, maxPositions: 2 * SHARED_PROMPT_TOKENS } };
  const size = { promptTokens: SHARED_PROMPT_TOKENS, newTokens: 1 };
  const shared = await createGeneration(model, { ...size, groups: 1, groupSize: GROUP_SIZE }, threads);
  const separate = await createGeneration(model, { ...size, groups: GROUP_SIZE, groupSize: 1 }, threads);
  const times = await rounds({ shared: shared.run, separate: separate.run }, 5);
  await shared.dispose();
  await separate.dispose();
  return row({
    name: `group of ${GROUP_SIZE} sharing ${SHARED_PROMPT_TOKENS} tokens, 5.6 M: first new token`,
    value: median(times.separate),
    unit: 'ms',
    peer: 'shared, as a group is read',
    peerValue: median(times.shared),
    ratio: medianRatio(times.separate, times.shared),
    target: { of: 'ratio', atLeast: SHARING_GAIN },
  });
}

/** Of one sequence a step reads every weight: how fast, beside a thread that looks through memory for a byte that is not there. */
async function weightsRead(model: RandomModel, threads: number): Promise<Row> {
  const newTokens = 48;
  const size = { groups: 1, groupSize: 1, promptTokens: 1, newTokens };
  const generation = await createGeneration(model, size, threads);
  const memory = Buffer.alloc(READ_BYTES, 1);
  const times = await rounds({ steps: generation.run, reading: () => memory.indexOf(0) }, 3);
  await generation.dispose();
  const bytes = newTokens * Float32Array.BYTES_PER_ELEMENT * parameterCount(model.config);
  return row({
    name: 'weights read, 135 M, batch 1',
    value: bytes / median(times.steps) / 1e6,
    unit: 'GB/s',
    peer: 'one thread, plain reading',
    peerValue: READ_BYTES / median(times.reading) / 1e6,
    ratio: medianRatio(times.reading, times.steps) * (bytes / READ_BYTES),
  });
}

async function run({ threads }: BenchContext): Promise<readonly Row[]> {
  env.allowRemoteModels = false;
  env.localModelPath = '';
  return [
    await promptSharing(threads),
    ...(await compareAll('5.6 M', mediumModel(), MEDIUM, threads)),
    await weightsRead(largeModel(), threads),
    ...(await compareAll('135 M', largeModel(), LARGE, threads)),
  ];
}

export const transformers: Benchmark = { name: 'transformers', run };
