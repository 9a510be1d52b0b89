// The whole ring on a GPU interface (SwiftShader): a node generates, a trainer's verifier replays, the trainer takes steps
// and publishes, the node goes on under the new weights; every model graph of both processes runs on WebGPU.

import assert from 'node:assert/strict';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { writeSafetensors } from '../../node/model/safetensors.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { randomModel } from '../support/random-model.ts';
import { assertAddsUp, RING_FLAGS } from '../support/ring.ts';
import { onSwiftShader } from '../support/swiftshader.ts';

/** Right answers are rare by chance, lengths differ: the price of length is what there is to learn. */
const RECIPE = `version: 1
name: short-answers
tasks: [{ task: arrows@1, settings: { letters: 6, minHops: 3, maxHops: 5 } }]
rewards: [{ reward: exact@1 }, { reward: length-penalty@1, settings: { perCharacter: 0.01 } }]
groupSize: 4
sampling: { temperature: 1, maxNewTokens: 6, endTokens: [1] }
grpo: { learningRate: 1.0e-3, warmUpSteps: 0, promptsPerStep: 4, sequencesPerUpdate: 16, maxUpdatesPerStep: 1 }
staleness: { maxLagSteps: 4, keepPolicies: 5, maxStepWaitMs: 4000, maxSlotsPerStep: 4 }
`;

const starter = (name: string): string => fileURLToPath(new URL(`../../recipes/starter/${name}`, import.meta.url));

/** A model folder of one layer, with the starter's tokenizer. */
async function tinyFolder(dir: string): Promise<string> {
  const shape = { hiddenSize: 16, intermediateSize: 24, layers: 1, vocabSize: 32, maxPositions: 64 };
  const { configJson, weights } = randomModel(shape, 7);
  await mkdir(dir);
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) await copyFile(starter(name), join(dir, name));
  await writeFile(join(dir, 'config.json'), configJson);
  await writeFile(join(dir, 'model.safetensors'), writeSafetensors(weights, 'BF16'));
  return dir;
}

onSwiftShader(import.meta.filename, () => {
  test('rollout, verification, training step and broadcast on WebGPU', { timeout: 120_000 }, async (t) => {
    const lab = await murmurLab(t);
    const recipeFile = join(lab.dir, 'recipe.yaml');
    await writeFile(recipeFile, RECIPE);
    const model = await tinyFolder(join(lab.dir, 'model'));
    const flags = [...RING_FLAGS, '--device', 'webgpu'];
    const trainer = lab.start('trainer', [
      'train',
      ...flags,
      '--recipe',
      recipeFile,
      '--model',
      model,
      '--eval-every',
      '0',
    ]);
    const address = (await trainer.event('listening')).addresses[0]!;
    const node = lab.start('node', ['node', ...flags, '--join', address]);
    const { peerId } = await node.event('listening');

    const step = await trainer.event('step', ({ policyStep }) => policyStep >= 1, 90_000);
    assert.ok(step.gradientNorm > 0 && Number.isFinite(step.loss) && step.tokens > 0, JSON.stringify(step));
    await node.event('policy', ({ policyStep }) => policyStep >= 1);
    const { counts } = await trainer.event(
      'step',
      (later) => later.policyStep >= 2 && later.counts.trained > step.counts.trained,
      90_000,
    );
    assertAddsUp(counts);
    assert.equal(counts.rejected, 0, JSON.stringify(counts));
    const verdicts = (await lab.ask(['verdicts', '--data-dir', lab.dataDir('trainer')])) as {
      peer: string;
      answer: string;
    }[];
    assert.ok(verdicts.length > 0 && verdicts.every(({ peer, answer }) => peer === peerId && answer === 'accept'));
    for (const role of [node, trainer]) assert.deepEqual(await role.interrupt(), { code: 0, signal: null });
  });
});
