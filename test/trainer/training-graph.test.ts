// A whole model's loss, log-probs and gradients against PyTorch's (vectors/models), and the graph's own conventions.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as ort from 'onnxruntime-node';
import type { ModelConfig } from '../../node/model/config.ts';
import { mul, neg, reduceSum } from '../../node/model/graph/ops.ts';
import type { Weights } from '../../node/model/weights.ts';
import { buildLogprobGraph, buildTrainingGraph, gradientName, type LossBuilder } from '../../trainer/training-graph.ts';
import { largestDifference, largestMagnitude } from '../support/difference.ts';
import { loadCase, modelCases } from '../support/model-vectors.ts';
import { float32, int32, type Results, session, values } from '../support/run-graph.ts';

const weightedLoss: LossBuilder = (graph, { logprobs }) =>
  neg(reduceSum(mul(logprobs, graph.input('loss_weight', 'float32', logprobs.shape))));

function weightFeeds(weights: Weights): Record<string, ort.Tensor> {
  return Object.fromEntries(
    [...weights].map(([name, { data, shape }]) => [name, new ort.Tensor('float32', data, shape)]),
  );
}

/** Right-padded feeds of ragged sequences, each token's target the next one: groups of one under empty prompts. */
function sequenceFeeds(sequences: readonly (readonly number[])[]): Record<string, ort.Tensor> {
  const [rows, width] = [sequences.length, Math.max(...sequences.map((ids) => ids.length))];
  const ids = new Int32Array(rows * width);
  const targets = new Int32Array(rows * width);
  const mask = new Float32Array(rows * width);
  for (const [b, sequence] of sequences.entries()) {
    for (let t = 0; t + 1 < sequence.length; t++) {
      ids[b * width + t] = sequence[t]!;
      targets[b * width + t] = sequence[t + 1]!;
      mask[b * width + t] = 1;
    }
  }
  return {
    prompt_ids: int32(new Int32Array(rows), [rows, 1]),
    prompt_lengths: int32(new Int32Array(rows), [rows]),
    completion_ids: int32(ids, [rows, 1, width]),
    targets: int32(targets, [rows, width]),
    mask: float32(mask, [rows, width]),
    temperature: float32([1], []),
  };
}

describe('training graph against PyTorch', () => {
  for (const one of modelCases()) {
    test(one.name, async () => {
      const { config, weights, inputIds, tensor } = await loadCase(one);
      const built = buildTrainingGraph(config, weightedLoss);
      const runner = await session(built.model);
      const lossWeight = tensor('loss_weight');
      const feeds: Record<string, ort.Tensor> = {
        ...weightFeeds(weights),
        ...sequenceFeeds(inputIds),
        loss_weight: float32(lossWeight.data, lossWeight.shape),
      };
      assert.deepEqual(Object.keys(feeds).sort(), built.inputs.map(({ name }) => name).sort());
      const results = await runner.run(feeds);
      await runner.release();
      const loss = tensor('loss').data[0]!;
      // log-probs are within 1e-4, and the loss is their sum by these weights: it may itself be near 0
      const weight = lossWeight.data.reduce((sum, value) => sum + Math.abs(value), 0);
      assert.ok(Math.abs(values(results.loss)[0]! - loss) <= 1e-4 * weight);
      for (const name of weights.keys()) {
        const expected = tensor(gradientName(name)).data;
        const difference = largestDifference(values(results[gradientName(name)]), expected);
        assert.ok(difference <= 1e-3 * largestMagnitude(expected), `${name}: ${difference}`);
      }
      const mask = values(feeds.mask);
      const logprobs = tensor('logprobs').data.map((value, k) => value * mask[k]!);
      assert.ok(largestDifference(values(results.logprobs), logprobs) <= 1e-4);
    });
  }
});

const tiny: ModelConfig = {
  architecture: 'LlamaForCausalLM',
  hiddenSize: 8,
  intermediateSize: 12,
  layers: 1,
  heads: 2,
  keyValueHeads: 1,
  headDim: 4,
  vocabSize: 6,
  maxPositions: 32,
  rmsNormEps: 1e-6,
  ropeTheta: 10_000,
  attentionBias: false,
  mlpBias: false,
  tiedHead: true,
  bosTokenId: null,
  eosTokenIds: [],
};

function tinyFeeds(built: {
  readonly inputs: readonly { readonly name: string; readonly shape: readonly unknown[] }[];
}): Record<string, ort.Tensor> {
  const feeds: Record<string, ort.Tensor> = sequenceFeeds([
    [1, 2, 3, 0],
    [4, 1],
  ]);
  let seed = 1;
  for (const { name, shape } of built.inputs) {
    if (feeds[name]) continue;
    const size = (shape as number[]).reduce((product, dim) => product * dim, 1);
    feeds[name] = float32(
      Array.from({ length: size }, () => Math.sin(seed++ * 12.9898) * 0.5),
      shape as number[],
    );
  }
  return feeds;
}

async function runTiny(options: { readonly tokenCount?: number }, temperature: number): Promise<Results> {
  const built = buildLogprobGraph(tiny, options);
  const runner = await session(built.model);
  const results = await runner.run({ ...tinyFeeds(built), temperature: float32([temperature], []) });
  await runner.release();
  return results;
}

describe('log-prob graph', () => {
  test('padding and everything outside of the mask is 0', async () => {
    const { logprobs } = await runTiny({}, 1);
    assert.deepEqual(logprobs!.dims, [2, 4]);
    for (const k of [3, 5, 6, 7]) assert.equal(Math.abs(values(logprobs)[k]!), 0);
    for (const k of [0, 1, 2, 4]) assert.ok(values(logprobs)[k]! < 0);
  });

  test('a high temperature makes the distribution uniform over the ids that have a token', async () => {
    const every = await runTiny({}, 1e6);
    const some = await runTiny({ tokenCount: 5 }, 1e6);
    for (const k of [0, 1, 2, 4]) {
      assert.ok(Math.abs(values(every.logprobs)[k]! + Math.log(6)) < 1e-4);
      assert.ok(Math.abs(values(some.logprobs)[k]! + Math.log(5)) < 1e-4);
    }
  });

  test('computes what the training graph computes', async () => {
    const built = buildTrainingGraph(tiny, weightedLoss);
    const runner = await session(built.model);
    const feeds = tinyFeeds({ inputs: built.inputs.filter(({ name }) => name !== 'loss_weight') });
    const training = await runner.run({ ...feeds, loss_weight: float32(new Float32Array(8).fill(1), [2, 4]) });
    await runner.release();
    const forward = await runTiny({}, 1);
    assert.deepEqual(values(training.logprobs), values(forward.logprobs));
  });
});
