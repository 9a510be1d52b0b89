// Decoding with a cache and replaying in one pass are the same policy: every honest token lies in its replayed
// interval, log-probs and states agree; a token that was changed does not pass.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { fromBf16Bits } from '../../../../node/model/bf16.ts';
import { createDecoder } from '../../../../node/model/engine/decoder.ts';
import { createReplayer } from '../../../../node/model/engine/replayer.ts';
import { createGraphSession, floatsOf, intTensor, weightFeeds } from '../../../../node/model/engine/session.ts';
import { buildPrefillGraph } from '../../../../node/model/llama/prefill.ts';
import { softmax } from '../../../../node/model/sampling/distribution.ts';
import { drawnWithin, intervalOf } from '../../../../node/model/sampling/draw.ts';
import { isSwarmError } from '../../../../node/protocol/errors.ts';
import type { GeneratedSequence, ReplayedSequence, SamplingSettings } from '../../../../node/protocol/ports.ts';
import { uniforms } from '../../../../node/protocol/seeds.ts';
import { type RandomModelShape, randomModel, randomNumbers } from '../../../support/random-model.ts';

interface Checked {
  readonly prompt: Uint32Array;
  readonly seed: Uint8Array;
  readonly made: GeneratedSequence;
  readonly replayed: ReplayedSequence;
}

/** Generates some groups and replays all of them, in small passes. */
async function generateAndReplay(
  shape: Partial<RandomModelShape>,
  sampling: SamplingSettings,
  k: number,
  alter?: (tokens: Uint32Array) => void,
): Promise<Checked[]> {
  const { config, weights } = randomModel(shape, k);
  const random = randomNumbers(k);
  const feeds = weightFeeds(weights);
  const decoder = await createDecoder(config, { threads: 1, cacheBytes: 8 << 20, activationBytes: 1 << 18 });
  const replayer = createReplayer(config, { threads: 1, activationBytes: 1 << 20 });
  const groups = Array.from({ length: 4 }, (_, g) => ({
    prompt: Uint32Array.from({ length: 1 + Math.floor(random() * 20) }, () =>
      Math.floor(random() * sampling.tokenCount),
    ),
    sequenceSeeds: Array.from({ length: 4 }, (_, i) => createHash('sha256').update(`${k} ${g} ${i}`).digest()),
  }));
  const made = await decoder.generate({ weights: feeds, sampling, groups });
  const flat = groups.flatMap(({ prompt, sequenceSeeds }, g) =>
    sequenceSeeds.map((seed, i) => ({ prompt, seed, made: made[g]![i]! })),
  );
  const sequences = flat.map(({ prompt, made: { tokens } }) => ({ prompt, tokens: tokens.slice() }));
  for (const { tokens } of sequences) alter?.(tokens);
  const replayed = await replayer.replay({ weights: feeds, sampling, sequences });
  await decoder.dispose();
  await replayer.dispose();
  return flat.map((each, n) => ({ ...each, replayed: replayed[n]! }));
}

const passes = (u: number, t: number, { below, upTo, alternatives }: ReplayedSequence): boolean =>
  drawnWithin(u, below[t]!, upTo[t]!, 1e-4) ||
  alternatives.some((other) => other.position === t && drawnWithin(u, other.below, other.upTo, 1e-4));

const shapes: Partial<RandomModelShape>[] = [
  {},
  { tiedHead: false, attentionBias: true, mlpBias: true },
  { keyValueHeads: 1, heads: 6, headDim: 6, layers: 1 },
  { keyValueHeads: 4, layers: 3, vocabSize: 40 },
];
const cuts = [
  { temperature: 1, topK: 0, topP: 1 },
  { temperature: 0.7, topK: 0, topP: 1 },
  { temperature: 1.3, topK: 6, topP: 1 },
  { temperature: 1, topK: 0, topP: 0.8 },
  { temperature: 0.9, topK: 8, topP: 0.9 },
];

describe('an honest rollout replays', () => {
  for (const [s, shape] of shapes.entries()) {
    for (const cut of cuts) {
      test(`${JSON.stringify(shape)} ${JSON.stringify(cut)}`, async () => {
        const sampling = { ...cut, maxNewTokens: 24, endTokens: [1, 2], tokenCount: 22 };
        for (const { seed, made, replayed } of await generateAndReplay(shape, sampling, s + 1)) {
          const us = uniforms(seed, made.tokens.length);
          for (let t = 0; t < made.tokens.length; t++) {
            assert.ok(made.tokens[t]! < 22, 'an id without a token was drawn');
            assert.ok(passes(us[t]!, t, replayed), `token ${t}: ${us[t]} outside`);
            assert.ok(Math.abs(made.logprobs[t]! - replayed.logprobs[t]!) <= 1e-5);
          }
          const states = fromBf16Bits(made.hidden);
          const again = fromBf16Bits(replayed.hidden);
          assert.equal(again.length, states.length);
          states.forEach((value, i) => {
            assert.ok(Math.abs(value - again[i]!) <= 0.01 * Math.max(1, Math.abs(value)));
          });
        }
      });
    }
  }
});

test('one changed token in each sequence is nearly always outside its interval', async () => {
  const sampling = { temperature: 1, topK: 0, topP: 1, maxNewTokens: 24, endTokens: [1], tokenCount: 24 };
  const edit = (tokens: Uint32Array): void => {
    tokens[0] = (tokens[0]! + 7) % 24;
  };
  let outside = 0;
  const all = await generateAndReplay({}, sampling, 9, edit);
  for (const { seed, replayed } of all) if (!passes(uniforms(seed, 1)[0]!, 0, replayed)) outside++;
  assert.equal(outside, all.length);
});

test('the interval of a sequence is that of its log-prob', async () => {
  const sampling = { temperature: 1, topK: 0, topP: 1, maxNewTokens: 24, endTokens: [1], tokenCount: 24 };
  for (const { replayed } of await generateAndReplay({}, sampling, 3)) {
    replayed.logprobs.forEach((logprob, t) => {
      const p = replayed.upTo[t]! - replayed.below[t]!;
      assert.ok(Math.abs(p - Math.exp(logprob)) < 1e-6);
    });
  }
});

test('a policy whose activations overflow is an error of ours: nothing is drawn or judged by it', async () => {
  const { config, weights } = randomModel({ tiedHead: false });
  weights.get('lm_head.weight')!.data.fill(3e38);
  const feeds = weightFeeds(weights);
  const sequences = [{ prompt: Uint32Array.of(3, 4), tokens: Uint32Array.of(5) }];
  const groups = [{ prompt: Uint32Array.of(3, 4), sequenceSeeds: [new Uint8Array(32)] }];
  const decoder = await createDecoder(config, { threads: 1, cacheBytes: 8 << 20, activationBytes: 1 << 18 });
  const replayer = createReplayer(config, { threads: 1, activationBytes: 1 << 20 });
  for (const topK of [0, 3]) {
    const sampling = { temperature: 1, topK, topP: 1, maxNewTokens: 4, endTokens: [1], tokenCount: 24 };
    const refused = (error: unknown): boolean => isSwarmError(error, 'ENGINE_FAILED');
    await assert.rejects(decoder.generate({ weights: feeds, sampling, groups }), refused);
    await assert.rejects(replayer.replay({ weights: feeds, sampling, sequences }), refused);
  }
  await decoder.dispose();
  await replayer.dispose();
});

test('a shared prompt changes nothing: together, alone, and in one plain pass over the whole sequence', async () => {
  const { config, weights } = randomModel({ layers: 3, vocabSize: 40 }, 6);
  const feeds = weightFeeds(weights);
  const random = randomNumbers(6);
  const draw = (length: number): Uint32Array => Uint32Array.from({ length }, () => Math.floor(random() * 40));
  const prompts = [1, 2, 30, 7].map(draw);
  const sequences = Array.from({ length: 24 }, (_, k) => ({
    prompt: prompts[k % 4]!.slice(),
    tokens: draw(1 + (k % 9)),
  }));
  const sampling = { temperature: 0.8, topK: 0, topP: 1, maxNewTokens: 9, endTokens: [], tokenCount: 40 };
  const replayer = createReplayer(config, { threads: 1, activationBytes: 1 << 18 });
  const together = await replayer.replay({ weights: feeds, sampling, sequences });
  const plain = await createGraphSession(buildPrefillGraph(config, { logits: 'all' }), { threads: 1 });
  for (const [k, sequence] of sequences.entries()) {
    const [alone] = await replayer.replay({ weights: feeds, sampling, sequences: [sequence] });
    const whole = Int32Array.from([...sequence.prompt, ...sequence.tokens]);
    const read = await plain.run({ input_ids: intTensor(whole, [1, whole.length]) }, feeds);
    const logits = floatsOf(read, 'logits');
    const hidden = floatsOf(read, 'hidden');
    for (const [t, token] of sequence.tokens.entries()) {
      const at = sequence.prompt.length - 1 + t;
      const p = softmax(logits.subarray(at * 40, (at + 1) * 40), sampling.temperature, 40);
      const { below, upTo } = intervalOf(p, token);
      for (const answer of [together[k]!, alone!]) {
        assert.ok(Math.abs(answer.below[t]! - below) < 1e-6 && Math.abs(answer.upTo[t]! - upTo) < 1e-6);
        assert.ok(Math.abs(answer.logprobs[t]! - Math.log(p[token]!)) < 1e-5);
      }
    }
    const states = hidden.subarray(sequence.prompt.length * config.hiddenSize, (whole.length - 1) * config.hiddenSize);
    for (const answer of [together[k]!, alone!]) {
      const again = fromBf16Bits(answer.hidden);
      assert.equal(again.length, states.length);
      states.forEach((value, i) => {
        assert.ok(Math.abs(value - again[i]!) <= 0.01 * Math.max(1, Math.abs(value)));
      });
    }
  }
  await replayer.dispose();
  await plain.dispose();
});
