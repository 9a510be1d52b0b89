// However a batch is computed (prompts shared or not, in parts, in chunks of the vocabulary, layers anew on the way back), its
// loss and its gradients are the same; and those of adapters agree with central differences.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Weights } from '../../../node/model/weights.ts';
import { LORA_TARGETS } from '../../../recipes/sections.ts';
import type { TrainingEngineInit } from '../../../trainer/engine/engine.ts';
import { gatherRows, microBatches, type PromptedSequence } from '../../../trainer/engine/micro-batch.ts';
import { createLearner } from '../../../trainer/engine/parameters.ts';
import { createSessions } from '../../../trainer/engine/sessions.ts';
import { initAdapters, mergedTensor } from '../../../trainer/lora.ts';
import { largestDifference, largestMagnitude } from '../../support/difference.ts';
import { type RandomModel, randomModel, randomNumbers } from '../../support/random-model.ts';

const LORA = { rank: 3, alpha: 6, targets: LORA_TARGETS };

const MODELS = {
  'grouped queries, tied head': () => randomModel(),
  'biases, head of its own': () =>
    randomModel({ keyValueHeads: 4, tiedHead: false, attentionBias: true, mlpBias: true, layers: 3 }),
  'one key head': () => randomModel({ keyValueHeads: 1, headDim: 6 }),
};

const initOf = (change: Partial<TrainingEngineInit> = {}, entropyCoef = 0): TrainingEngineInit => ({
  source: { folder: 'none' },
  objective: { loss: 'gspo', lossSettings: {}, klCoef: 0, entropyCoef, normalisation: 'token', maxNewTokens: 8 },
  temperature: 0.8,
  optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
  schedule: { learningRate: 1e-3, warmUpSteps: 0 },
  clipNorm: 1,
  threads: 1,
  ...change,
});

/** Three prompts of 1, 4 and 9 tokens, up to four completions each of 1…7 tokens. */
function sequences(vocabSize: number): PromptedSequence[] {
  const random = randomNumbers(11);
  const draw = (length: number): Uint32Array => Uint32Array.from({ length }, () => Math.floor(random() * vocabSize));
  return [draw(1), draw(4), draw(9)].flatMap((prompt, k) =>
    Array.from({ length: 2 + k }, (_, i) => ({ prompt, tokens: draw(1 + ((3 * i + k) % 7)) })),
  );
}

interface Outcome {
  readonly loss: number;
  readonly entropy: number;
  readonly logprobs: readonly Float32Array[];
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

type Form = Partial<TrainingEngineInit>;

interface How {
  readonly entropyCoef?: number;
  /** each sequence by itself */
  readonly alone?: boolean;
  readonly kind?: 'policy' | 'imitation';
  readonly adapters?: Weights;
}

/** Logits of so many ids at once, where a micro-batch may have 1000 tokens. */
const chunksOf = (ids: number, tokens = 1000): Form => ({ microBatchTokens: tokens, logitBytes: 4 * tokens * ids });

/** Adapters that change something. */
function someAdapters({ config }: RandomModel): Weights {
  const adapters = initAdapters(config, LORA, 5);
  for (const [name, { data }] of adapters)
    if (name.includes('lora_B')) for (let i = 0; i < data.length; i++) data[i] = 0.1 * Math.sin(7 * i + name.length);
  return adapters;
}

/** A batch as an engine computes it. */
interface Prepared {
  /** loss and log-probs under the weights as they are now; gradients are added up over runs */
  run(): Promise<Outcome>;
  release(): Promise<void>;
}

/** The gradient of a batch as an engine adds it up. */
async function outcome(model: RandomModel, form: Form, how: How = {}): Promise<Outcome> {
  const prepared = await prepare(model, form, how);
  try {
    return await prepared.run();
  } finally {
    await prepared.release();
  }
}

async function prepare({ config, weights }: RandomModel, form: Form, how: How): Promise<Prepared> {
  const { entropyCoef = 0, alone = false, kind = 'policy', adapters } = how;
  const init = initOf({ ...form, ...(adapters ? { lora: LORA } : {}) }, entropyCoef);
  const learner = createLearner(weights, adapters ? { settings: LORA, adapters } : null);
  const sessions = createSessions(config, init, learner);
  const runner = await sessions.get(kind);
  const batch = sequences(init.tokenCount ?? config.vocabSize);
  const parts = alone
    ? batch.flatMap((each, index) => microBatches([each], 1000).map((part) => ({ ...part, indices: [index] })))
    : microBatches(batch, init.microBatchTokens ?? 1000);
  const run = async (): Promise<Outcome> => {
    const logprobs: Float32Array[] = [];
    let [loss, entropy] = [0, 0];
    for (const part of parts) {
      const grid = (value: number) => ({ data: part.mask.map((on) => on * value), columns: part.width });
      const result = await runner.run(part, {
        weights: grid(1 / 20),
        logprobs_worker: grid(-3),
        logprobs_old: grid(-3),
        advantages: { data: Float32Array.from(part.indices, (index) => (index < 0 ? 0 : (index % 3) - 1)), columns: 1 },
      });
      loss += result.scalars.loss!;
      entropy += result.entropy.reduce((sum, value) => sum + value, 0);
      for (const [index, values] of gatherRows(part, result.logprobs, (at) => batch[at]!.tokens.length))
        logprobs[index] = values;
    }
    const gradients = new Map(learner.parameters.map(({ name }, k) => [name, learner.gradients[k]!]));
    return { loss, entropy, logprobs, gradients };
  };
  return { run, release: async () => void (await sessions.release()) };
}

function assertSame(found: Outcome, expected: Outcome, tolerance: number): void {
  const near = (a: ArrayLike<number>, b: ArrayLike<number>, name: string): void => {
    const [difference, scale] = [largestDifference(a, b), Math.max(1e-3, largestMagnitude(b))];
    assert.ok(difference <= tolerance * scale, `${name}: ${difference} of ${scale}`);
  };
  near([found.loss, found.entropy], [expected.loss, expected.entropy], 'loss and entropy');
  for (const [k, logprobs] of expected.logprobs.entries()) near(found.logprobs[k]!, logprobs, `log-probs ${k}`);
  for (const [name, gradient] of expected.gradients) near(found.gradients.get(name)!, gradient, name);
}

for (const [name, make] of Object.entries(MODELS)) {
  test(`one gradient, however it is computed: ${name}`, async () => {
    const expected = await outcome(make(), {}, { alone: true });
    assert.ok([...expected.gradients.values()].every((gradient) => largestMagnitude(gradient) > 0));
    const forms: Record<string, Form> = {
      'prompts shared': {},
      'in parts': { microBatchTokens: 20 },
      'the vocabulary in chunks': chunksOf(7),
      'layers anew': { recompute: true },
      'all of it': { ...chunksOf(11, 30), recompute: true },
    };
    for (const form of Object.values(forms)) assertSame(await outcome(make(), form), expected, 1e-5);
  });
}

test('with an entropy bonus too', async () => {
  const make = MODELS['grouped queries, tied head'];
  const expected = await outcome(make(), {}, { alone: true, entropyCoef: 0.3 });
  for (const form of [{}, chunksOf(7), { recompute: true }])
    assertSame(await outcome(make(), form, { entropyCoef: 0.3 }), expected, 1e-5);
  const without = await outcome(make(), {});
  assert.ok(Math.abs(without.loss - 0.3 * (expected.entropy / 20) - expected.loss) < 1e-4);
});

test('ids without a token have no probability and no gradient, in chunks or not', async () => {
  const model = () => randomModel({ vocabSize: 30 });
  const name = 'model.embed_tokens.weight';
  const { config, configJson, weights } = model();
  const embeddings = { shape: [24, config.hiddenSize], data: weights.get(name)!.data.slice(0, 24 * config.hiddenSize) };
  const smaller = {
    config: { ...config, vocabSize: 24 },
    configJson,
    weights: new Map([...weights, [name, embeddings]]),
  };
  const expected = await outcome(smaller, {});
  for (const form of [{}, chunksOf(5)]) {
    const { gradients, ...found } = await outcome(model(), { ...form, tokenCount: 24 });
    const gradient = gradients.get(name)!;
    assert.equal(largestMagnitude(gradient.subarray(embeddings.data.length)), 0);
    const cut = new Map([...gradients, [name, gradient.slice(0, embeddings.data.length)]]);
    assertSame({ ...found, gradients: cut }, expected, 1e-5);
  }
});

test("adapters' gradients agree with central differences", async () => {
  const model = randomModel();
  const adapters = someAdapters(model);
  const how = { kind: 'imitation', adapters } as const;
  const { gradients } = await outcome(model, {}, how);
  assert.equal(gradients.size, model.config.layers * LORA_TARGETS.length * 2);
  const again = await prepare(model, {}, how);
  for (const [name, gradient] of gradients) {
    if (!name.startsWith('model.layers.0.')) continue;
    const { data } = adapters.get(name)!;
    const k = gradient.findIndex((value) => Math.abs(value) === largestMagnitude(gradient));
    const kept = data[k]!;
    const lossAt = async (value: number): Promise<number> => {
      data[k] = value;
      return (await again.run()).loss;
    };
    const [above, below] = [await lossAt(kept + 1e-2), await lossAt(kept - 1e-2)];
    data[k] = kept;
    const numeric = (above - below) / 2e-2;
    assert.ok(
      Math.abs(gradient[k]! - numeric) < 2e-2 * Math.abs(numeric) + 1e-4,
      `${name}: ${gradient[k]}, ${numeric}`,
    );
  }
  await again.release();
});

test('one gradient of adapters, however it is computed', async () => {
  const make = MODELS['biases, head of its own'];
  const adapters = someAdapters(make());
  const expected = await outcome(make(), {}, { adapters, alone: true });
  for (const form of [{}, chunksOf(11, 30), { recompute: true }])
    assertSame(await outcome(make(), form, { adapters }), expected, 1e-5);
});

test('the merged model gives what the model with adapters gives, and new adapters change nothing', async () => {
  for (const make of Object.values(MODELS)) {
    const model = make();
    const adapters = someAdapters(model);
    const merged = new Map(
      [...model.weights].map(([name, tensor]) => [name, mergedTensor(name, tensor, adapters, LORA)]),
    );
    const [apart, together] = [
      await outcome(model, {}, { adapters }),
      await outcome({ ...model, weights: merged }, {}),
    ];
    assertSame({ ...apart, gradients: together.gradients }, together, 1e-5);
    const plain = await outcome(model, {});
    const fresh = await outcome(model, {}, { adapters: initAdapters(model.config, LORA, 1) });
    assert.deepEqual(fresh.logprobs, plain.logprobs);
    assert.notDeepEqual(apart.logprobs, plain.logprobs);
  }
});
