// The whole ring around a model with random weights: a node generates, a trainer's verifier replays, the trainer takes
// steps and publishes, the node goes on under the new weights.

import assert from 'node:assert/strict';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeSafetensors } from '../../node/model/safetensors.ts';
import { assertAddsUp } from './adds-up.ts';
import type { MurmurLab } from './murmur-process.ts';
import { type RandomModelShape, randomModel } from './random-model.ts';
import { RING_FLAGS } from './ring.ts';

/** Right answers are rare by chance, lengths differ: the price of length is what there is to learn. */
const RECIPE = `version: 1
name: short-answers
tasks: [{ task: arrows@1, settings: { letters: 6, minHops: 3, maxHops: 5 } }]
rewards: [{ reward: exact@1 }, { reward: length-penalty@1, settings: { perCharacter: 0.01 } }]
groupSize: 4
sampling: { temperature: 1, maxNewTokens: 6, endTokens: [1] }
grpo: { learningRate: 1.0e-3, warmUpSteps: 0, promptsPerStep: 4, sequencesPerUpdate: 16, maxUpdatesPerStep: 1 }
staleness: { maxLagSteps: 4, keepPolicies: 5, maxStepWaitMs: 4000, maxSlotsPerStep: 64 }
`;

const starter = (name: string): string => fileURLToPath(new URL(`../../recipes/starter/${name}`, import.meta.url));

/** A model folder with the starter's tokenizer. */
async function randomFolder(dir: string, shape: Partial<RandomModelShape>): Promise<string> {
  const { configJson, weights } = randomModel({ ...shape, vocabSize: 32, maxPositions: 64 }, 7);
  await mkdir(dir);
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) await copyFile(starter(name), join(dir, name));
  await writeFile(join(dir, 'config.json'), configJson);
  await writeFile(join(dir, 'model.safetensors'), writeSafetensors(weights, 'BF16'));
  return dir;
}

/**
 * Runs a trainer and a node as processes until two steps are trained and published, and ends them.
 * @param flags more flags for both
 */
export async function turnRingWith(
  lab: MurmurLab,
  shape: Partial<RandomModelShape>,
  flags: readonly string[] = [],
): Promise<void> {
  const recipeFile = join(lab.dir, 'recipe.yaml');
  await writeFile(recipeFile, RECIPE);
  const model = await randomFolder(join(lab.dir, 'model'), shape);
  const all = [...RING_FLAGS, ...flags];
  const trainer = lab.start('trainer', [
    'train',
    ...all,
    '--recipe',
    recipeFile,
    '--model',
    model,
    '--eval-every',
    '0',
  ]);
  const address = (await trainer.event('listening')).addresses[0]!;
  const node = lab.start('node', ['node', ...all, '--join', address]);
  const { peerId } = await node.event('listening');

  const step = await trainer.event('step', ({ policyStep }) => policyStep >= 1, 90_000);
  assert.ok(step.gradientNorm > 0 && Number.isFinite(step.loss) && step.tokens > 0, JSON.stringify(step));
  await node.event('policy', ({ policyStep }) => policyStep >= 1);
  const isLater = ({ policyStep, counts }: typeof step): boolean =>
    policyStep >= 2 && counts.trained > step.counts.trained;
  const { counts } = await trainer.event('step', isLater, 90_000);
  assertAddsUp(counts);
  assert.equal(counts.rejected, 0, JSON.stringify(counts));
  const verdicts = await lab.ask(['verdicts', '--data-dir', lab.dataDir('trainer')]);
  const rows = verdicts as { readonly peer: string; readonly answer: string }[];
  assert.ok(rows.length > 0 && rows.every(({ peer, answer }) => peer === peerId && answer === 'accept'));
  for (const role of [node, trainer]) assert.deepEqual(await role.interrupt(), { code: 0, signal: null });
}
