// A real pretrained model, where one is at hand: MURMUR_REAL_MODEL=DIR names SmolLM2-135M-Instruct as a model folder
// (see ../shared/vectors/make/real_model.py). It answers, it follows the recipe largest, and a training step raises what
// was rewarded. Takes some minutes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completionText, evaluatePolicy, heldOutTasks } from '../../node/cli/evaluate.ts';
import { recipeModelOf } from '../../node/cli/start-model.ts';
import { createPolicyEngine } from '../../node/model/engine/engine.ts';
import { loadModelFolder } from '../../node/model/folder.ts';
import { loadTokenizer } from '../../node/model/tokenizer.ts';
import { weightsFileOf } from '../../node/model/weight-files.ts';
import { sha256 } from '../../node/protocol/bytes.ts';
import { checkFits, promptOf } from '../../recipes/prompt.ts';
import { resolveRecipe } from '../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe } from '../../recipes/schema.ts';
import { createTrainingEngine } from '../../trainer/engine/create.ts';
import { shippedSource } from '../support/recipe-sources.ts';
import { runInProcess } from '../support/run-program.ts';

const folder = process.env['MURMUR_REAL_MODEL'];
const options = folder === undefined ? { skip: 'MURMUR_REAL_MODEL names no model folder' } : { timeout: 1_200_000 };
const MEMORY = '3GB';

test('it answers a question through murmur chat, greedily', options, async () => {
  const asked = ['--once', 'What is 2 + 3?', '--temperature', '0', '--memory', MEMORY];
  const { code, stdout, stderr } = await runInProcess(['chat', '--model', folder!, ...asked]);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '2 + 3 = 5\n');
});

test('it is sometimes right on largest, and a step of GRPO raises the right answers', options, async () => {
  const dir = folder!;
  const recipe = resolveRecipe(parseRecipe(canonicalRecipe(shippedSource('largest'))));
  const tokenizer = await loadTokenizer(dir);
  checkFits(recipe, tokenizer);
  const policyRoot = (await recipeModelOf({ folder: dir, hubId: null })).initialPolicyRoot;
  const sampling = { ...recipe.recipe.sampling, tokenCount: tokenizer.vocabSize };
  const engine = createPolicyEngine({ threads: 2, memoryBytes: 3e9 });
  const { configJson } = await loadModelFolder(dir);
  const seeds = Array.from({ length: 8 }, (_, k) => sha256(`real model ${k}`));
  const problems = recipe.heldOutProblems(4, 1);
  const requests = problems.map((problem) => ({ prompt: promptOf(tokenizer, problem).tokens, sequenceSeeds: seeds }));
  try {
    await engine.load({ policyRoot, configJson, weightsFile: await weightsFileOf(dir) });
    const context = { engine, policyRoot, recipe, tokenizer, sampling };
    const tasks = await heldOutTasks(recipe, tokenizer, 64, 0);
    const { accuracy, completionTokensMean } = await evaluatePolicy(context, tasks);
    assert.ok(accuracy > 0.08 && accuracy < 0.5, `${accuracy}`);
    assert.ok(completionTokensMean < 4, `${completionTokensMean} tokens`);
    const groups = await engine.generate(policyRoot, sampling, requests);
    const sequences = groups.flatMap((group, g) =>
      group.map((made) => ({
        ...{ prompt: requests[g]!.prompt, tokens: made.tokens, logprobsWorker: made.logprobs },
        advantage: recipe.isRight(problems[g]!, completionText(tokenizer, made)) ? 1 : -0.25,
      })),
    );
    await learns(dir, tokenizer.vocabSize, sequences);
  } finally {
    await engine.close();
  }
});

type Sequences = Parameters<Awaited<ReturnType<typeof createTrainingEngine>>['update']>[0];

async function learns(dir: string, tokenCount: number, sequences: Sequences): Promise<void> {
  const trainer = await createTrainingEngine({
    source: { folder: dir },
    objective: { loss: 'aipo', lossSettings: {}, klCoef: 0, entropyCoef: 0, normalisation: 'token', maxNewTokens: 6 },
    ...{ temperature: 1, tokenCount, clipNorm: 1, threads: 2 },
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
    schedule: { learningRate: 1e-5, warmUpSteps: 0 },
  });
  try {
    const worth = async (): Promise<number> => {
      const logprobs = await trainer.logprobs(sequences);
      return sequences.reduce((sum, { advantage }, i) => sum + advantage * logprobs[i]!.reduce((a, b) => a + b, 0), 0);
    };
    const before = await worth();
    const { gradientNorm, klEstimate } = await trainer.update(sequences);
    assert.ok(Number.isFinite(gradientNorm) && gradientNorm > 0);
    assert.ok(Math.abs(klEstimate) < 1e-4, `what was generated is on policy: ${klEstimate}`);
    assert.ok((await worth()) > before);
  } finally {
    await trainer.close();
  }
}
