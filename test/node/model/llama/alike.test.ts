// One policy, however it is run: over random models of every family and random batches, a whole-sequence pass, a pass
// with neighbours and padding, token-by-token decoding over a cache, and decoding on from a prefilled part agree.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { InferenceSession } from 'onnxruntime-node';
import { buildDecodeGraph, cacheNames } from '../../../../node/model/llama/decode.ts';
import { buildPrefillGraph } from '../../../../node/model/llama/prefill.ts';
import { arbitraryModel, arbitrarySequences } from '../../../support/arbitrary-model.ts';
import { type DecodeLoop, decodeLoop, weightFeeds } from '../../../support/decode-loop.ts';
import { largestDifference } from '../../../support/difference.ts';
import type { RandomModel } from '../../../support/random-model.ts';
import { int32, type Results, session } from '../../../support/run-graph.ts';

/** What δ of replay (spec/rollouts.md) leaves: logits are up to some 10, so this is about eight bits above rounding. */
const TOLERANCE = 1e-4;

/** Logits and hidden states of each token of each sequence. */
type Rows = { readonly logits: Float32Array; readonly hidden: Float32Array }[][];

const rowOf = (results: Results, name: string, index: number, width: number): Float32Array =>
  (results[name]!.data as Float32Array).slice(index * width, (index + 1) * width);

async function prefilled(
  runner: InferenceSession,
  { weights }: RandomModel,
  sequences: readonly (readonly number[])[],
  padding: number,
): Promise<Results> {
  const width = Math.max(...sequences.map((ids) => ids.length));
  const ids = sequences.flatMap((sequence) => [...sequence, ...Array<number>(width - sequence.length).fill(padding)]);
  return runner.run({ ...weightFeeds(weights), input_ids: int32(ids, [sequences.length, width]) });
}

function rowsOf({ config }: RandomModel, results: Results, lengths: readonly number[]): Rows {
  const width = Math.max(...lengths);
  return lengths.map((length, b) =>
    Array.from({ length }, (_, t) => ({
      logits: rowOf(results, 'logits', b * width + t, config.vocabSize),
      hidden: rowOf(results, 'hidden', b * width + t, config.hiddenSize),
    })),
  );
}

function assertAlike(what: string, got: Rows, expected: Rows): void {
  for (const [b, rows] of expected.entries()) {
    for (const [t, row] of rows.entries()) {
      for (const name of ['logits', 'hidden'] as const) {
        const difference = largestDifference(got[b]![t]![name], row[name]);
        assert.ok(difference <= TOLERANCE, `${what}: ${name} of sequence ${b}, token ${t} differ by ${difference}`);
      }
    }
  }
}

/** Puts the first `counts[b]` rows of every sequence's prefilled cache where decoding goes on from. */
function fillCaches({ config }: RandomModel, loop: DecodeLoop, results: Results, counts: readonly number[]): void {
  const { layers, keyValueHeads, headDim } = config;
  for (let layer = 0; layer < layers; layer++) {
    const { newKey, newValue } = cacheNames(layer);
    for (const [k, name] of [newKey, newValue].entries()) {
      const cache = loop.caches[2 * layer + k]!;
      const rows = results[name]!.data as Float32Array;
      const heads = counts.length * keyValueHeads;
      const [capacity, width] = [cache.length / heads / headDim, rows.length / heads / headDim];
      for (let head = 0; head < heads; head++) {
        const count = counts[Math.floor(head / keyValueHeads)]! * headDim;
        const from = head * width * headDim;
        cache.set(rows.subarray(from, from + count), head * capacity * headDim);
      }
    }
  }
  loop.lengths.set(counts);
}

interface Start {
  readonly results: Results;
  /** tokens of each sequence that are taken from `results` */
  readonly counts: readonly number[];
}

/** Decodes all sequences in one batch, each from its own start; `junk` lies in the rows that nothing has filled. */
async function decoded(
  runner: InferenceSession,
  model: RandomModel,
  sequences: readonly (readonly number[])[],
  { start, junk, spare }: { readonly start: Start | null; readonly junk: number; readonly spare: number },
): Promise<Rows> {
  const { config, weights } = model;
  const longest = Math.max(...sequences.map((ids) => ids.length));
  const loop = decodeLoop(runner, config, weights, sequences.length, longest + spare);
  for (const cache of loop.caches) cache.fill(junk);
  if (start) fillCaches(model, loop, start.results, start.counts);
  const rows: Rows = sequences.map(() => []);
  while (sequences.some((ids, b) => loop.lengths[b]! < ids.length)) {
    const active = sequences.map((ids, b) => loop.lengths[b]! < ids.length);
    const at = [...loop.lengths];
    const results = await loop.step(
      sequences.map((ids, b) => ids[at[b]!] ?? 0),
      active,
    );
    for (const [b, isActive] of active.entries()) {
      if (!isActive) continue;
      rows[b]![at[b]!] = {
        logits: rowOf(results, 'logits', b, config.vocabSize),
        hidden: rowOf(results, 'hidden', b, config.hiddenSize),
      };
    }
  }
  return rows;
}

test('whole, padded, decoded, decoded on from a part: the same logits and states', { timeout: 120_000 }, async () => {
  const example = arbitraryModel.chain((model) =>
    fc.record({
      model: fc.constant(model),
      sequences: arbitrarySequences(model.config.vocabSize, 14),
      padding: fc.nat(model.config.vocabSize - 1),
      junk: fc.constantFrom(0, 7, -50),
      spare: fc.nat(3),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(example, async ({ model, sequences, padding, junk, spare, share }) => {
      const prefill = await session(buildPrefillGraph(model.config, { logits: 'all', caches: true }).model);
      const decode = await session(buildDecodeGraph(model.config).model);
      try {
        const alone: Rows = [];
        for (const ids of sequences) {
          alone.push(...rowsOf(model, await prefilled(prefill, model, [ids], 0), [ids.length]));
        }
        const together = await prefilled(prefill, model, sequences, padding);
        const lengths = sequences.map((ids) => ids.length);
        assertAlike('padded beside others', rowsOf(model, together, lengths), alone);
        const whole = await decoded(decode, model, sequences, { start: null, junk, spare });
        assertAlike('decoded', whole, alone);
        const counts = lengths.map((length) => Math.floor(share * (length - 1)));
        const on = await decoded(decode, model, sequences, { start: { results: together, counts }, junk, spare });
        assertAlike(
          'decoded on',
          on.map((rows, b) => rows.slice(counts[b]!)),
          alone.map((rows, b) => rows.slice(counts[b]!)),
        );
      } finally {
        await prefill.release();
        await decode.release();
      }
    }),
    { numRuns: 40 },
  );
});
