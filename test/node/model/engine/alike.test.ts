// What a sequence is depends on its prompt, its seed and the policy alone: over random models of every family and random
// groups, neither neighbours, order, memory (so: passes over the prompts, rows at once) nor a prompt that is shared
// changes anything beyond rounding, and what was generated replays.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromBf16Bits } from '../../../../node/model/bf16.ts';
import { createDecoder } from '../../../../node/model/engine/decoder.ts';
import { rowBytes } from '../../../../node/model/engine/kv-cache.ts';
import { createReplayer } from '../../../../node/model/engine/replayer.ts';
import { weightFeeds } from '../../../../node/model/engine/session.ts';
import { drawnWithin } from '../../../../node/model/sampling/draw.ts';
import type {
  GeneratedSequence,
  GenerateRequest,
  ReplayedSequence,
  SamplingSettings,
} from '../../../../node/protocol/ports.ts';
import { uniforms } from '../../../../node/protocol/seeds.ts';
import { arbitraryModel, arbitrarySequences } from '../../../support/arbitrary-model.ts';
import type { RandomModel } from '../../../support/random-model.ts';

/** δ of spec/rollouts.md */
const DELTA = 1e-4;
const MAX_NEW_TOKENS = 12;

interface Memory {
  readonly cacheBytes: number;
  readonly activationBytes: number;
}

interface Sequence {
  readonly prompt: Uint32Array;
  readonly seed: Uint8Array;
}

async function generated(
  { config, weights }: RandomModel,
  sampling: SamplingSettings,
  memory: Memory,
  calls: readonly (readonly GenerateRequest[])[],
): Promise<GeneratedSequence[]> {
  const decoder = await createDecoder(config, { threads: 1, ...memory });
  const all: GeneratedSequence[] = [];
  for (const groups of calls) {
    all.push(...(await decoder.generate({ weights: weightFeeds(weights), sampling, groups })).flat());
  }
  await decoder.dispose();
  return all;
}

const isNear = (a: number, b: number): boolean => Math.abs(a - b) <= DELTA;
/** bf16 states: one unit in the last place, and what rounding may move */
const isNearState = (a: number, b: number): boolean => Math.abs(a - b) <= 0.01 * Math.max(1, Math.abs(a));

/** Tokens up to where the two part, which only a number drawn on a border may make them do: both then replay. */
function common(a: GeneratedSequence, b: GeneratedSequence): number {
  const parted = a.tokens.findIndex((token, t) => token !== b.tokens[t]);
  return parted < 0 ? Math.min(a.tokens.length, b.tokens.length) : parted;
}

function assertAlike(what: string, a: GeneratedSequence, b: GeneratedSequence, hiddenSize: number): void {
  const count = common(a, b);
  for (let t = 0; t < count; t++) {
    assert.ok(isNear(a.logprobs[t]!, b.logprobs[t]!), `${what}: log-prob ${t} ${a.logprobs[t]} and ${b.logprobs[t]}`);
  }
  if (count === a.tokens.length) {
    assert.equal(b.tokens.length, count, what);
    assert.equal(b.finish, a.finish, what);
  }
  const states = [a, b].map(({ hidden }) => fromBf16Bits(hidden.slice(0, Math.max(0, count - 1) * hiddenSize)));
  states[0]!.forEach((value, i) => {
    assert.ok(isNearState(value, states[1]![i]!), `${what}: state ${i}`);
  });
}

/** Every token lies where its uniform number fell, by the other way of computing it. */
function assertReplays(what: string, { seed }: Sequence, made: GeneratedSequence, replayed: ReplayedSequence): void {
  const us = uniforms(seed, made.tokens.length);
  for (const [t, u] of us.entries()) {
    const places = [
      { below: replayed.below[t]!, upTo: replayed.upTo[t]! },
      ...replayed.alternatives.filter(({ position }) => position === t),
    ];
    assert.ok(
      places.some(({ below, upTo }) => drawnWithin(u, below, upTo, DELTA)),
      `${what}: token ${t}`,
    );
    assert.ok(isNear(made.logprobs[t]!, replayed.logprobs[t]!), `${what}: replayed log-prob ${t}`);
  }
}

const sampling = fc.record({
  temperature: fc.constantFrom(0.7, 1, 1.4),
  topK: fc.constantFrom(0, 5),
  topP: fc.constantFrom(1, 0.85),
});

test('neighbours, order, memory and a shared prompt change nothing', { timeout: 120_000 }, async () => {
  const example = arbitraryModel.chain((model) =>
    fc.record({
      model: fc.constant(model),
      prompts: arbitrarySequences(model.config.vocabSize, 20),
      perGroup: fc.integer({ min: 1, max: 4 }),
      cut: sampling,
      rowsAtOnce: fc.integer({ min: 1, max: 3 }),
      activationBytes: fc.constantFrom(1, 20_000, 1 << 20),
    }),
  );
  await fc.assert(
    fc.asyncProperty(example, async ({ model, prompts, perGroup, cut, rowsAtOnce, activationBytes }) => {
      const { config, weights } = model;
      const settings = { ...cut, maxNewTokens: MAX_NEW_TOKENS, endTokens: [1], tokenCount: config.vocabSize };
      const seedOf = (g: number, i: number): Uint8Array => createHash('sha256').update(`${g} ${i}`).digest();
      const groups = prompts.map((prompt, g) => ({
        prompt: Uint32Array.from(prompt),
        sequenceSeeds: Array.from({ length: perGroup }, (_, i) => seedOf(g, i)),
      }));
      const sequences: Sequence[] = groups.flatMap(({ prompt, sequenceSeeds }) =>
        sequenceSeeds.map((seed) => ({ prompt, seed })),
      );
      const roomy = { cacheBytes: 16 << 20, activationBytes: 1 << 22 };
      const tight = { cacheBytes: rowsAtOnce * rowBytes(config, 64), activationBytes };
      const alone = sequences.map(({ prompt, seed }) => [{ prompt, sequenceSeeds: [seed] }]);
      const reference = await generated(model, settings, roomy, alone);
      const together = await generated(model, settings, roomy, [groups]);
      const inTurns = (await generated(model, settings, tight, [[...alone].reverse().flat()])).reverse();
      const grouped = await generated(model, settings, tight, [groups]);
      const runs = { alone: reference, together, 'in turns': inTurns, grouped };
      const replayer = await createReplayer(config, { threads: 1, activationBytes });
      for (const [what, made] of Object.entries(runs)) {
        const replayed = await replayer.replay({
          weights: weightFeeds(weights),
          sampling: settings,
          sequences: sequences.map(({ prompt }, n) => ({ prompt, tokens: made[n]!.tokens })),
        });
        for (const [n, one] of made.entries()) {
          assertAlike(`${what}: sequence ${n}`, reference[n]!, one, config.hiddenSize);
          assertReplays(`${what}: sequence ${n}`, sequences[n]!, one, replayed[n]!);
        }
      }
      await replayer.dispose();
    }),
    { numRuns: 25 },
  );
});
