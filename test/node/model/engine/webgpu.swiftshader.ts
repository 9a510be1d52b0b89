// Generation, replay and training on a GPU interface (SwiftShader): the same numbers as on the CPU, each policy with its
// own weights, and nothing but sums of shapes handed back to the CPU.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { createDeviceCache, keptOnDevice } from '../../../../node/model/engine/decode-cache.ts';
import { createDecoder } from '../../../../node/model/engine/decoder.ts';
import { nodePlacement } from '../../../../node/model/engine/handed-back.ts';
import { createReplayer } from '../../../../node/model/engine/replayer.ts';
import { createGraphSession, floatTensor, type Tensors, weightFeeds } from '../../../../node/model/engine/session.ts';
import { neg, reduceSum } from '../../../../node/model/graph/ops.ts';
import { buildAppendRowsGraph } from '../../../../node/model/llama/append-rows.ts';
import { buildCompletionGraph } from '../../../../node/model/llama/completion.ts';
import { buildDecodeGraph, CACHE_ROWS } from '../../../../node/model/llama/decode.ts';
import { buildPrefillGraph } from '../../../../node/model/llama/prefill.ts';
import type { GeneratedSequence, ReplayedSequence, SamplingSettings } from '../../../../node/protocol/ports.ts';
import { openTrainingCore } from '../../../../trainer/engine/core.ts';
import type { TrainSequence } from '../../../../trainer/engine/engine.ts';
import { buildTrainingGraph } from '../../../../trainer/training-graph.ts';
import { type RandomModel, randomModel } from '../../../support/random-model.ts';
import { onSwiftShader } from '../../../support/swiftshader.ts';

const DEVICES = ['cpu', 'webgpu'] as const;
const MEMORY = { threads: 1, cacheBytes: 16 << 20, activationBytes: 16 << 20 };
const seed = (k: number): Uint8Array => createHash('sha256').update(`seed ${k}`).digest();
const sampling = (change: Partial<SamplingSettings> = {}): SamplingSettings => ({
  ...{ temperature: 0.8, topK: 0, topP: 1, maxNewTokens: 12, endTokens: [1], tokenCount: 24 },
  ...change,
});

/** Largest difference of two arrays of one length. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
}

/** Three groups of ragged prompts, four sequences each, under each policy in turn and once more under the first. */
async function generateOn(device: (typeof DEVICES)[number], { config }: RandomModel, policies: readonly Tensors[]) {
  // Room for six rows: the later groups come in as the first ones end.
  const decoder = await createDecoder(config, { ...MEMORY, cacheBytes: 25_000, device });
  const groups = [[2, 3, 4, 5, 6, 7, 8, 9], [10], [11, 12, 13, 14, 15, 16]].map((prompt, g) => ({
    prompt: Uint32Array.from(prompt),
    sequenceSeeds: [0, 1, 2, 3].map((i) => seed(10 * g + i)),
  }));
  const made: GeneratedSequence[][] = [];
  for (const weights of [...policies, policies[0]!]) {
    made.push((await decoder.generate({ weights, sampling: sampling(), groups })).flat());
  }
  await decoder.dispose();
  return made;
}

async function replayOn(
  device: (typeof DEVICES)[number],
  { config }: RandomModel,
  weights: Tensors,
  change: Partial<SamplingSettings>,
): Promise<ReplayedSequence[]> {
  const replayer = createReplayer(config, { ...MEMORY, device });
  const sequences = [
    [
      [2, 3, 4],
      [5, 6, 7, 8, 1],
    ],
    [[9], [10, 11]],
  ].map(([prompt, tokens]) => ({ prompt: Uint32Array.from(prompt!), tokens: Uint32Array.from(tokens!) }));
  const answers = await replayer.replay({ weights, sampling: sampling(change), sequences });
  await replayer.dispose();
  return answers;
}

function trainOn(device: (typeof DEVICES)[number], { configJson }: RandomModel) {
  return openTrainingCore({
    source: { configJson, seed: 3 },
    objective: {
      ...{ loss: 'aipo', lossSettings: {}, klCoef: 0.1, entropyCoef: 0.01, normalisation: 'token', maxNewTokens: 8 },
    },
    temperature: 0.7,
    tokenCount: 22,
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01 },
    schedule: { learningRate: 1e-3, warmUpSteps: 0 },
    clipNorm: 1,
    microBatchTokens: 16,
    threads: 1,
    device,
  });
}

const batch: readonly TrainSequence[] = [
  [
    [2, 3],
    [4, 5, 1],
  ],
  [
    [2, 3, 4, 5],
    [6, 1],
  ],
  [[7], [8, 9, 10, 11, 1]],
].map(([prompt, tokens], k) => ({
  prompt: Uint32Array.from(prompt!),
  tokens: Uint32Array.from(tokens!),
  advantage: [1, -0.5, 0.3][k]!,
  logprobsWorker: Float32Array.from(tokens!, (_, i) => -3.1 - 0.2 * i),
}));

onSwiftShader(import.meta.filename, () => {
  test('nothing but sums of shapes and places is handed back to the CPU', async () => {
    const { config } = randomModel({ attentionBias: true });
    const graphs = {
      generation: buildDecodeGraph(config, 'probabilities', 'device'),
      replay: buildCompletionGraph(config, 'scores'),
      training: buildTrainingGraph(config, (_graph, { logprobs }) => neg(reduceSum(logprobs)), { tokenCount: 20 }),
    };
    for (const [name, graph] of Object.entries(graphs)) {
      const { onDevice, handedBack } = await nodePlacement(graph, { device: 'webgpu', threads: 1 });
      assert.ok(onDevice > 5, `${name}: ${onDevice}`);
      // At most one int64 for each of 4 · 4 · 4 tokens; an activation of them has 16 numbers and more.
      assert.ok(
        handedBack.every(({ nodes, bytes }) => bytes <= 512 * nodes),
        `${name}: ${JSON.stringify(handedBack)}`,
      );
    }
    const { handedBack } = await nodePlacement(buildPrefillGraph(config), { device: 'cpu', threads: 1 });
    assert.ok(handedBack.some(({ op, bytes }) => op === 'FusedMatMul' && bytes > 512));
  });

  test('generation draws the same tokens, under whichever policy', async () => {
    const model = randomModel({ attentionBias: true });
    const policies = [model, randomModel({ attentionBias: true }, 2), randomModel({ attentionBias: true }, 3)].map(
      ({ weights }) => weightFeeds(weights),
    );
    const [expected, found] = [await generateOn('cpu', model, policies), await generateOn('webgpu', model, policies)];
    assert.notDeepEqual(expected[0]![0]!.tokens, expected[1]![0]!.tokens);
    for (const [k, sequences] of expected.entries()) {
      for (const [i, { tokens, logprobs }] of sequences.entries()) {
        assert.deepEqual(found[k]![i]!.tokens, tokens, `policy ${k}, sequence ${i}`);
        assert.ok(difference(found[k]![i]!.logprobs, logprobs) < 1e-4);
      }
    }
  });

  test('a cache stays on the device between runs', async () => {
    const { config } = randomModel();
    const append = await createGraphSession(
      buildAppendRowsGraph(config),
      { device: 'webgpu', threads: 1 },
      'fed',
      keptOnDevice(config, 'next'),
    );
    const cache = createDeviceCache(config, append);
    cache.restart(4, 30);
    const fresh = keptOnDevice(config, 'fresh').map((name) => {
      const shape = [3, config.keyValueHeads, 5, config.headDim];
      return [name, floatTensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(1), shape)] as const;
    });
    await cache.fill([{ at: 0, row: 2, tokens: 5 }], Object.fromEntries(fresh), 5);
    const feeds = cache.feeds(2);
    const tensors = Object.entries(feeds).filter(([name]) => name !== CACHE_ROWS);
    assert.ok(tensors.length === 2 * config.layers && tensors.every(([, { location }]) => location === 'gpu-buffer'));
    assert.deepEqual(tensors[0]![1].dims, [4, config.keyValueHeads, 32, config.headDim]);
    assert.deepEqual([...(feeds[CACHE_ROWS]!.data as Int32Array)], [3, 0]);
    cache.dispose();
    await append.dispose();
  });

  test('replay gives the same log-probs and places in the distribution, with and without a cut', async () => {
    const model = randomModel({ tiedHead: false, mlpBias: true });
    const weights = weightFeeds(model.weights);
    for (const change of [{ topK: 5 }, { tokenCount: 20 }]) {
      const [expected, found] = [
        await replayOn('cpu', model, weights, change),
        await replayOn('webgpu', model, weights, change),
      ];
      for (const [i, { logprobs, below, upTo }] of expected.entries()) {
        assert.ok(difference(found[i]!.logprobs, logprobs) < 1e-4);
        assert.ok(difference(found[i]!.below, below) < 1e-5 && difference(found[i]!.upTo, upTo) < 1e-5);
      }
    }
  });

  test('a training step has the same loss, gradient and weights', async () => {
    const model = randomModel();
    const [expected, found] = await Promise.all(
      DEVICES.map(async (device) => {
        const engine = await trainOn(device, model);
        const metrics = [await engine.update(batch), await engine.update(batch)];
        const logprobs = await engine.logprobs(batch);
        await engine.close();
        return { metrics, logprobs };
      }),
    );
    for (const [k, metrics] of expected!.metrics.entries()) {
      for (const name of ['loss', 'gradientNorm', 'entropy', 'klEstimate'] as const) {
        assert.ok(
          Math.abs(metrics[name] - found!.metrics[k]![name]) < 1e-4 * Math.max(1, Math.abs(metrics[name])),
          name,
        );
      }
    }
    for (const [k, row] of expected!.logprobs.entries()) assert.ok(difference(found!.logprobs[k]!, row) < 1e-4);
  });
});
