// A decode graph that gives chunks of a vocabulary draws what the same graph with whole rows draws, ids without a token never.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDrawing, type Pick } from '../../../../node/model/engine/drawing.ts';
import { createGraphSession, floatTensor, intTensor, weightFeeds } from '../../../../node/model/engine/session.ts';
import { buildDecodeGraph, cacheNames } from '../../../../node/model/llama/decode.ts';
import { outputFor } from '../../../../node/model/llama/next-token.ts';
import { chunkCount } from '../../../../node/model/llama/scoring.ts';
import type { SamplingSettings } from '../../../../node/protocol/ports.ts';
import { randomModel, randomNumbers } from '../../../support/random-model.ts';

const VOCABULARY = 5000;
const TOKENS = 4870;

async function drawAll(
  sampling: SamplingSettings,
  picks: readonly Pick[],
): Promise<readonly { token: number; logprob: number }[]> {
  const { config, weights } = randomModel({ vocabSize: VOCABULARY }, 4);
  const drawing = createDrawing(config, sampling);
  const session = await createGraphSession(buildDecodeGraph(config, drawing.output), { threads: 1 });
  const rows = 3;
  const shape = [rows, config.keyValueHeads, 1, config.headDim];
  const caches = Array.from({ length: config.layers }, (_, layer) => cacheNames(layer)).flatMap(({ key, value }) =>
    [key, value].map((name) => [name, floatTensor(new Float32Array(rows * shape[1]! * shape[3]!), shape)] as const),
  );
  const feeds = {
    ...Object.fromEntries(caches),
    input_ids: intTensor(Int32Array.of(5, 6, 7), [rows]),
    lengths: intTensor(new Int32Array(rows), [rows]),
    ...drawing.feeds(picks),
  };
  const outputs = await session.run(feeds, weightFeeds(weights));
  await session.dispose();
  return drawing.draws(outputs, picks);
}

test('chunks and whole rows draw the same', async () => {
  const sampling = { temperature: 0.8, topK: 0, topP: 1, maxNewTokens: 1, endTokens: [], tokenCount: TOKENS };
  const random = randomNumbers(8);
  const ends = [0, 2 ** -40, 2 ** -20, 1 - 2 ** -20, 1 - 2 ** -40, 1 - 2 ** -53];
  const picks = [...ends, ...Array.from({ length: 600 }, random)].map((u, k) => ({ row: k % 3, u }));
  assert.equal(outputFor(VOCABULARY, false), 'chunks');
  const chunked = await drawAll(sampling, picks);
  // A cut that cuts nothing: whole rows.
  assert.equal(outputFor(VOCABULARY, true), 'probabilities');
  const whole = await drawAll({ ...sampling, topP: 1 - 1e-15 }, picks);
  let differing = 0;
  for (const [k, { token, logprob }] of chunked.entries()) {
    assert.ok(token >= 0 && token < TOKENS);
    if (token !== whole[k]!.token) differing++;
    else assert.ok(Math.abs(logprob - whole[k]!.logprob) < 1e-5);
  }
  assert.ok(differing <= 2, `${differing} of ${picks.length} differ`); // float32 sums move borders by some 1e-7
  assert.ok(new Set(chunked.map(({ token }) => Math.floor(token / (VOCABULARY / chunkCount(VOCABULARY))))).size > 10);
});

test('a vocabulary is divided near its square root', () => {
  assert.deepEqual([49152, 151936, 32000, 5000].map(chunkCount), [192, 128, 160, 50]);
  assert.equal(outputFor(4099, false), 'probabilities'); // a prime
});
