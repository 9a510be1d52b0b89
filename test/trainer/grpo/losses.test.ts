// Every loss × settings × normalisation × KL as an ONNX graph with its gradient, against PyTorch and worked numbers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { GraphBuilder } from '../../../node/model/graph/builder.ts';
import { encodeModel } from '../../../node/model/graph/encode.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { gradients } from '../../../trainer/autodiff/gradients.ts';
import type { LossSettings } from '../../../trainer/grpo/loss.ts';
import { type LossName, lossSettings } from '../../../trainer/grpo/losses.ts';
import { tokenWeights } from '../../../trainer/grpo/normalise.ts';
import { buildPolicyLoss, type PolicyLossSettings } from '../../../trainer/grpo/policy-loss.ts';
import { grpoVectors } from '../../support/grpo-vectors.ts';

/** Ragged batch: one row a sequence. */
interface Batch {
  readonly logprobs: readonly (readonly number[])[];
  readonly worker: readonly (readonly number[])[];
  readonly old: readonly (readonly number[])[];
  readonly reference: readonly (readonly number[])[];
  readonly advantages: readonly number[];
  readonly weights: readonly number[];
}

interface LossResult {
  readonly value: number;
  readonly gradient: readonly (readonly number[])[];
  readonly clippedLow: number;
  readonly clippedHigh: number;
}

async function evaluate(settings: PolicyLossSettings, batch: Batch): Promise<LossResult> {
  const graph = new GraphBuilder('loss');
  const shape = ['batch', 'tokens'];
  const read = (name: string) => graph.input(name, 'float32', shape);
  const logprobs = read('logprobs');
  const outputs = buildPolicyLoss(
    {
      logprobs,
      logprobsWorker: read('worker'),
      logprobsOld: read('old'),
      logprobsReference: read('reference'),
      mask: read('mask'),
      weights: read('weights'),
      advantages: graph.input('advantages', 'float32', ['batch', 1]),
      entropy: null,
    },
    settings,
  );
  graph.output('loss', outputs.loss);
  if (outputs.clippedLow) graph.output('low', outputs.clippedLow);
  if (outputs.clippedHigh) graph.output('high', outputs.clippedHigh);
  graph.output('gradient', gradients(graph, outputs.loss, [logprobs])[0]!);
  const session = await InferenceSession.create(encodeModel(graph), { intraOpNumThreads: 1 });
  const rows = batch.logprobs.length;
  const width = Math.max(...batch.logprobs.map((row) => row.length));
  const padded = (value: (row: number, t: number) => number): Tensor => {
    const data = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++)
      for (const t of batch.logprobs[row]!.keys()) data[row * width + t] = value(row, t);
    return new Tensor('float32', data, [rows, width]);
  };
  const feeds: Record<string, Tensor> = {
    logprobs: padded((row, t) => batch.logprobs[row]![t]!),
    worker: padded((row, t) => batch.worker[row]![t]!),
    old: padded((row, t) => batch.old[row]![t]!),
    reference: padded((row, t) => batch.reference[row]![t]!),
    mask: padded(() => 1),
    weights: padded((row) => batch.weights[row]!),
    advantages: new Tensor('float32', Float32Array.from(batch.advantages), [rows, 1]),
  };
  const results = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!])));
  await session.release();
  const flat = results.gradient!.data as Float32Array;
  const scalar = (name: string): number => Number(results[name]?.data[0] ?? 0);
  const gradient = batch.logprobs.map((row, r) => row.map((_, t) => flat[r * width + t]!));
  return { value: scalar('loss'), gradient, clippedLow: scalar('low'), clippedHigh: scalar('high') };
}

const CAMEL: Readonly<Record<string, string>> = { eps: 'epsilon', eps_low: 'epsilonLow', eps_high: 'epsilonHigh' };
const ours = (settings: LossSettings): LossSettings =>
  Object.fromEntries(Object.entries(settings).map(([key, value]) => [CAMEL[key] ?? key, value]));

const near = (got: number, expected: number, label: string, tolerance = 1e-5): void =>
  assert.ok(Math.abs(got - expected) <= tolerance, `${label}: ${got}, expected ${expected}`);

test('losses and their gradients equal PyTorch', async (t) => {
  const { inputs, losses } = grpoVectors();
  for (const vector of losses) {
    const label = `${vector.loss} ${JSON.stringify(vector.settings)} ${vector.normalisation} kl ${vector.kl_coef}`;
    await t.test(label, async () => {
      const settings = {
        loss: vector.loss,
        lossSettings: ours(vector.settings),
        klCoef: vector.kl_coef,
        entropyCoef: 0,
      };
      const extent = { lengths: inputs.lengths, maxNewTokens: inputs.max_new_tokens };
      const { value, gradient } = await evaluate(settings, {
        logprobs: inputs.logprobs,
        worker: inputs.logprobs_worker,
        old: inputs.logprobs_old,
        reference: inputs.logprobs_reference,
        advantages: inputs.advantages,
        weights: tokenWeights(vector.normalisation, extent),
      });
      near(value, vector.value, 'value');
      vector.grad_logprobs.forEach((row, r) => {
        row.forEach((expected, k) => {
          near(gradient[r]![k]!, expected, `gradient [${r}, ${k}]`);
        });
      });
    });
  }
});

/** One sequence of one token: log-probs ln of the given probabilities, weight 1. */
const oneToken = (p: number, worker: number, old: number, advantage: number): Batch => ({
  logprobs: [[Math.log(p)]],
  worker: [[Math.log(worker)]],
  old: [[Math.log(old)]],
  reference: [[Math.log(0.25)]],
  advantages: [advantage],
  weights: [1],
});

test('each loss on one token, worked by hand', async (t) => {
  // p = 0.5, old 0.25 (r = 2), worker 0.1 (w = 5). value is the loss (minus the objective), gradient ∂loss/∂lp.
  const cases: readonly (readonly [
    LossName,
    number,
    { value: number; gradient: number; low?: number; high?: number },
  ])[] = [
    // A = 1: min(min(2, 4), 1.2) = 1.2, held back.
    ['grpo', 1, { value: -1.2, gradient: 0, high: 1 }],
    // A = −1: min(−2, −1.2) = −2, gradient of r is r.
    ['grpo', -1, { value: 2, gradient: 2 }],
    ['dapo', 1, { value: -1.28, gradient: 0, high: 1 }],
    // One token: s = r = 2 > 1.0004.
    ['gspo', 1, { value: -1.0004, gradient: 0, high: 1 }],
    // sg(2)·A·lp = 2·ln 0.5.
    ['cispo', 1, { value: -2 * Math.log(0.5), gradient: -2 }],
    // sg(min(5, 4))·A·lp.
    ['aipo', 1, { value: -4 * Math.log(0.5), gradient: -4, high: 1 }],
    // w = 5 is the bound itself; exp(ln 0.5 − ln 0.1) in f32 falls on one side or the other, so p is moved off it below.
    // p − pμ = 0.4 > 0.2 and A > 0: dropped, 1e-3·(ln 5)² stays, gradient 2e-3·ln 5.
    ['dppo', 1, { value: 1e-3 * Math.log(5) ** 2, gradient: 2e-3 * Math.log(5), high: 1 }],
    // A < 0: −(−1·5) + 1e-3·(ln 5)².
    ['dppo', -1, { value: 5 + 1e-3 * Math.log(5) ** 2, gradient: 5 + 2e-3 * Math.log(5) }],
    // sg(0.25/0.1) = 2.5 times PPO's 1.2.
    ['decoupled', 1, { value: -3, gradient: 0, high: 1 }],
  ];
  for (const [loss, advantage, expected] of cases) {
    await t.test(`${loss} A=${advantage}`, async () => {
      const settings = { loss, lossSettings: {}, klCoef: 0, entropyCoef: 0 };
      const got = await evaluate(settings, oneToken(0.5, 0.1, 0.25, advantage));
      near(got.value, expected.value, 'value', 3e-6);
      near(got.gradient[0]![0]!, expected.gradient, 'gradient', 3e-6);
      assert.deepEqual([got.clippedLow, got.clippedHigh], [expected.low ?? 0, expected.high ?? 0]);
    });
  }
});

test('icepop keeps ratios inside of its bounds and masks the others on both sides', async () => {
  const settings = { loss: 'icepop', lossSettings: {}, klCoef: 0, entropyCoef: 0 } as const;
  const kept = await evaluate(settings, oneToken(0.4, 0.1, 0.1, 2));
  near(kept.value, -4 * 2 * Math.log(0.4), 'w = 4 kept', 1e-5);
  near(kept.gradient[0]![0]!, -8, 'gradient', 1e-5);
  const high = await evaluate(settings, oneToken(0.6, 0.1, 0.1, 2));
  assert.deepEqual([high.value, high.gradient[0]![0], high.clippedLow, high.clippedHigh].map(Math.abs), [0, 0, 0, 1]);
  const low = await evaluate(settings, oneToken(0.04, 0.1, 0.1, 2));
  assert.deepEqual([low.value, low.gradient[0]![0], low.clippedLow, low.clippedHigh].map(Math.abs), [0, 0, 1, 0]);
});

test('two-sided grpo holds a bad token beyond delta at delta, without a gradient', async () => {
  const settings = { loss: 'grpo', lossSettings: {}, klCoef: 0, entropyCoef: 0 } as const;
  // r = 0.5/0.1 = 5 > δ = 4, A = −1: min(−4, −1.2) = −4.
  const got = await evaluate(settings, oneToken(0.5, 0.1, 0.1, -1));
  near(got.value, 4, 'value');
  assert.equal(Math.abs(got.gradient[0]![0]!), 0);
  assert.equal(got.clippedHigh, 1);
});

test('the k3 term has a gradient on lp', async () => {
  // lpRef − lp = ln(0.25/0.5) = −ln 2: k3 = 1/2 + ln 2 − 1; ∂k3/∂lp = 1 − exp(lpRef − lp) = 1/2. A = 0 leaves only it.
  const settings = { loss: 'aipo', lossSettings: {}, klCoef: 0.1, entropyCoef: 0 } as const;
  const got = await evaluate(settings, oneToken(0.5, 0.5, 0.5, 0));
  near(got.value, 0.1 * (Math.LN2 - 0.5), 'value', 1e-7);
  near(got.gradient[0]![0]!, 0.05, 'gradient', 1e-7);
});

test('a setting that a loss does not have is refused by name', () => {
  assert.throws(
    () => lossSettings('aipo', { epsilon: 0.2 }),
    (error) => isSwarmError(error, 'RECIPE_INVALID') && error.detail.setting === 'epsilon',
  );
  assert.deepEqual(lossSettings('grpo', { delta: 2 }), { epsilon: 0.2, delta: 2 });
});

test('token weights of each normalisation, worked by hand', () => {
  const extent = { lengths: [1, 3], maxNewTokens: 8 };
  assert.deepEqual(tokenWeights('token', extent), [1 / 4, 1 / 4]);
  assert.deepEqual(tokenWeights('sequence', extent), [1 / 2, 1 / 6]);
  assert.deepEqual(tokenWeights('constant', extent), [1 / 16, 1 / 16]);
});
