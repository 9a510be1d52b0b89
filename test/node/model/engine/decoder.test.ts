// Generation against Hugging Face's greedy continuations, and what must not change a sequence: its neighbours.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDecoder } from '../../../../node/model/engine/decoder.ts';
import { weightFeeds } from '../../../../node/model/engine/session.ts';
import { loadModelFolder } from '../../../../node/model/folder.ts';
import { isSwarmError } from '../../../../node/protocol/errors.ts';
import type { GeneratedSequence, SamplingSettings } from '../../../../node/protocol/ports.ts';
import { modelCases } from '../../../support/model-vectors.ts';
import { randomModel } from '../../../support/random-model.ts';
import { readVector, vectorsDir } from '../../../support/vectors-dir.ts';

const CACHE = 16 << 20;
const seed = (k: number): Uint8Array => createHash('sha256').update(`seed ${k}`).digest();
const plain = (change: Partial<SamplingSettings> = {}): SamplingSettings => ({
  temperature: 1,
  topK: 0,
  topP: 1,
  maxNewTokens: 20,
  endTokens: [1],
  tokenCount: 24,
  ...change,
});

for (const { name } of modelCases()) {
  test(`${name}: 64 greedy tokens equal Hugging Face's`, async () => {
    const expected = readVector<Record<string, unknown>>('models', name, 'expected.json');
    const { config, weights } = await loadModelFolder(join(vectorsDir(), 'models', name));
    const prompt = Uint32Array.from((expected.input_ids as number[][])[0]!);
    const greedy = expected.greedy_tokens as number[];
    const decoder = await createDecoder(config, { threads: 1, cacheBytes: CACHE, activationBytes: CACHE });
    const sampling = plain({ topK: 1, maxNewTokens: greedy.length, endTokens: [], tokenCount: config.vocabSize });
    const groups = [{ prompt, sequenceSeeds: [seed(0), seed(1)] }];
    const [sequences] = await decoder.generate({ weights: weightFeeds(weights), sampling, groups });
    for (const { tokens, hidden, finish } of sequences!) {
      assert.deepEqual([...tokens], greedy);
      assert.equal(hidden.length, (greedy.length - 1) * config.hiddenSize);
      assert.equal(finish, 'length');
    }
    await decoder.dispose();
  });
}

const prompts = [1, 5, 2, 70, 3, 40, 11].map((length) => Array.from({ length }, (_, k) => 2 + ((7 * k + length) % 22)));

async function generateWith(cacheBytes: number, groupsAtOnce: number, perGroup: number): Promise<GeneratedSequence[]> {
  const { config, weights } = randomModel({ layers: 3, tiedHead: false }, 5);
  const decoder = await createDecoder(config, { threads: 1, cacheBytes, activationBytes: 20_000 });
  const all: GeneratedSequence[] = [];
  for (let first = 0; first < prompts.length; first += groupsAtOnce) {
    const groups = prompts.slice(first, first + groupsAtOnce).map((prompt, k) => ({
      prompt: Uint32Array.from(prompt),
      sequenceSeeds: Array.from({ length: perGroup }, (_, i) => seed((first + k) * 100 + i)),
    }));
    const job = { weights: weightFeeds(weights), sampling: plain({ maxNewTokens: 60 }), groups };
    all.push(...(await decoder.generate(job)).flat());
  }
  await decoder.dispose();
  return all;
}

test('neighbours, budget and order do not change a sequence', async () => {
  const alone = await generateWith(CACHE, 1, 6);
  const together = await generateWith(CACHE, prompts.length, 6);
  const tight = await generateWith(4 * (2 * 3 * 2 * 160 * 4 * 4), prompts.length, 6); // four rows at a time
  assert.equal(alone.length, prompts.length * 6);
  assert.ok(alone.some(({ finish }) => finish === 'eos') && alone.some(({ finish }) => finish === 'length'));
  for (const other of [together, tight]) {
    for (const [k, { tokens, logprobs, finish, hidden }] of alone.entries()) {
      assert.deepEqual(other[k]!.tokens, tokens);
      assert.equal(other[k]!.finish, finish);
      assert.equal(hidden.length, (tokens.length - 1) * 16);
      assert.equal(other[k]!.hidden.length, hidden.length);
      logprobs.forEach((value, t) => {
        assert.ok(Math.abs(value - other[k]!.logprobs[t]!) < 1e-5);
      });
    }
  }
});

test('an end token ends, is kept, and carries no state of its own', async () => {
  const sequences = await generateWith(CACHE, prompts.length, 6);
  for (const { tokens, finish } of sequences) {
    assert.equal(finish, tokens.at(-1) === 1 ? 'eos' : 'length');
    assert.ok(tokens.subarray(0, -1).every((token) => token !== 1));
    assert.ok(finish === 'eos' || tokens.length === 60);
  }
});

test('what cannot be generated is refused by code', async () => {
  const { config, weights } = randomModel({ maxPositions: 32 });
  const decoder = await createDecoder(config, { threads: 1, cacheBytes: CACHE, activationBytes: CACHE });
  const cramped = await createDecoder(config, { threads: 1, cacheBytes: 100, activationBytes: CACHE });
  const job = (prompt: number[], change: Partial<SamplingSettings> = {}) => ({
    weights: weightFeeds(weights),
    sampling: plain({ maxNewTokens: 4, ...change }),
    groups: [{ prompt: Uint32Array.from(prompt), sequenceSeeds: [seed(1)] }],
  });
  await assert.rejects(decoder.generate(job([])), (error) => isSwarmError(error, 'MALFORMED'));
  await assert.rejects(decoder.generate(job([24])), (error) => isSwarmError(error, 'MALFORMED'));
  await assert.rejects(decoder.generate(job([2], { maxNewTokens: 32 })), (error) => isSwarmError(error, 'TOO_LARGE'));
  await assert.rejects(cramped.generate(job([2])), (error) => isSwarmError(error, 'OUT_OF_MEMORY_BUDGET'));
  let steps = 0;
  const aborted = { ...job([2], { endTokens: [] }), isAborted: () => ++steps > 2 };
  await assert.rejects(decoder.generate(aborted), (error) => isSwarmError(error, 'INTERRUPTED'));
  assert.deepEqual(await decoder.generate({ ...job([2]), groups: [] }), []);
  await decoder.dispose();
  await cramped.dispose();
});

/** Turns of a conversation: what was said before and more, another branch, a beginning anew; [prompt, tokens read for it]. */
const TURNS = (
  first: readonly number[],
  answer: readonly number[],
): readonly (readonly [readonly number[], number])[] => {
  const second = [...first, ...answer, ...Array.from({ length: 45 }, (_, k) => 2 + ((5 * k) % 22))];
  return [
    [second, second.length - first.length - answer.length + 1], // the last token drawn was never read
    [second, 1],
    [[...second.slice(0, 30), 3, 4, 5, 6, 7, 8, 9], 37 - 30],
    [[...second.slice(0, 30), 3, 4, 5], 1],
    [[23, ...second], second.length + 1],
  ];
};

test('a turn reads only what the turn before has not left, and draws what it would have drawn', async () => {
  const { config, weights } = randomModel({ layers: 3, tiedHead: false }, 5);
  const init = { threads: 1, cacheBytes: CACHE, activationBytes: CACHE };
  const [kept, anew] = [await createDecoder(config, init), await createDecoder(config, init)];
  const feeds = weightFeeds(weights);
  const ask = async (prompt: readonly number[], change: object = {}): Promise<GeneratedSequence> => {
    const job = { weights: feeds, sampling: plain({ maxNewTokens: 12, endTokens: [] }), ...change };
    const request = { prompt: Uint32Array.from(prompt), sequenceSeeds: [seed(3)] };
    const [[turn]] = (await kept.generate({ ...job, groups: [{ ...request, isTurn: true }] })) as [[GeneratedSequence]];
    const [[alone]] = (await anew.generate({ ...job, groups: [request] })) as [[GeneratedSequence]];
    assert.deepEqual(turn.tokens, alone.tokens);
    assert.ok(turn.logprobs.every((value, t) => Math.abs(value - alone.logprobs[t]!) < 1e-5));
    assert.equal(alone.promptTokensRead, undefined);
    return turn;
  };
  const first = Array.from({ length: 20 }, (_, k) => 2 + ((7 * k) % 22));
  const { tokens, promptTokensRead } = await ask(first);
  assert.equal(promptTokensRead, first.length);
  for (const [prompt, read] of TURNS(first, [...tokens])) assert.equal((await ask(prompt)).promptTokensRead, read);
  // Cut short, it goes on from where it was.
  let steps = 0;
  await assert.rejects(ask(first, { isAborted: () => ++steps > 4 }), (error) => isSwarmError(error, 'INTERRUPTED'));
  assert.equal((await ask([...first, ...tokens.subarray(0, 8)])).promptTokensRead, 8 - 3);
  // Another policy's keys are none of this one's, and what ran between leaves nothing.
  assert.equal((await ask(first, { weights: weightFeeds(weights) })).promptTokensRead, first.length);
  await kept.generate({
    weights: feeds,
    sampling: plain(),
    groups: [{ prompt: Uint32Array.from(first), sequenceSeeds: [seed(1), seed(2)] }],
  });
  assert.equal((await ask(first)).promptTokensRead, first.length);
  await kept.dispose();
  await anew.dispose();
});
