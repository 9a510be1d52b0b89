// A recipe that asks in chats, on a model of random weights in SmolLM2's shape (nine heads over three, its head tied) whose
// template lies in a file of its own: the node has model, tokenizer and template from the swarm alone, its prompts are what verifier and trainer expect, the
// trainer takes a step, the node goes on under the new weights, and what it left can be talked to.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { saveModelFolder } from '../../node/model/folder.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { randomModel } from '../support/random-model.ts';
import { RING_FLAGS } from '../support/ring.ts';
import { vectorsDir } from '../support/vectors-dir.ts';

/** Random weights are never right: the price of length is what there is to learn. */
const RECIPE = `version: 1
name: short-chats
tasks: [{ task: largest@1, chat: { system: Answer with the largest number., examples: 2 } }]
rewards: [{ reward: exact@1 }, { reward: length-penalty@1, settings: { perCharacter: 0.01 } }]
groupSize: 4
sampling: { temperature: 1, maxNewTokens: 6, endTokens: [2] }
grpo: { learningRate: 1.0e-3, warmUpSteps: 0, promptsPerStep: 4, sequencesPerUpdate: 16, maxUpdatesPerStep: 1 }
staleness: { maxLagSteps: 4, keepPolicies: 5, maxStepWaitMs: 4000, maxSlotsPerStep: 4 }
`;

/** The template moved out of the config, as newer folders have it. */
async function chatFolder(dir: string): Promise<string> {
  const shape = { hiddenSize: 36, intermediateSize: 96, layers: 2, heads: 9, keyValueHeads: 3, vocabSize: 704 };
  await saveModelFolder(dir, randomModel({ ...shape, maxPositions: 1024 }, 7));
  const from = join(vectorsDir(), 'tokenizers', 'gpt2-style-chatml');
  await writeFile(join(dir, 'tokenizer.json'), await readFile(join(from, 'tokenizer.json')));
  const { chat_template: template, ...config } = JSON.parse(
    await readFile(join(from, 'tokenizer_config.json'), 'utf8'),
  );
  await writeFile(join(dir, 'tokenizer_config.json'), JSON.stringify(config));
  await writeFile(join(dir, 'chat_template.jinja'), template);
  return dir;
}

test('chats go round the ring', { timeout: 300_000 }, async (t) => {
  const lab = await murmurLab(t);
  const recipeFile = join(lab.dir, 'recipe.yaml');
  await writeFile(recipeFile, RECIPE);
  const model = await chatFolder(join(lab.dir, 'model'));
  const trained = ['--recipe', recipeFile, '--model', model, '--eval-every', '0'];
  const trainer = lab.start('trainer', ['train', ...RING_FLAGS, ...trained]);
  const node = lab.start('node', ['node', ...RING_FLAGS, '--join', (await trainer.event('listening')).addresses[0]!]);
  const { peerId } = await node.event('listening');

  const step = await trainer.event('step', ({ policyStep }) => policyStep >= 1, 120_000);
  assert.ok(step.gradientNorm > 0 && Number.isFinite(step.loss), JSON.stringify(step));
  await node.event('policy', ({ policyStep }) => policyStep >= 1);
  const { counts } = await trainer.event('step', (later) => later.counts.trained > step.counts.trained, 120_000);
  assertAddsUp(counts);
  assert.equal(counts.rejected, 0, JSON.stringify(counts));
  const verdicts = (await lab.ask(['verdicts', '--data-dir', lab.dataDir('trainer')])) as {
    peer: string;
    answer: string;
  }[];
  assert.ok(verdicts.length > 0 && verdicts.every(({ peer, answer }) => peer === peerId && answer === 'accept'));
  const [group] = (await lab.ask(['rollouts', '--data-dir', lab.dataDir('trainer')])) as { groupId: string }[];
  const shown = (await lab.ask(['rollouts', group!.groupId, '--data-dir', lab.dataDir('trainer')])) as {
    prompt: string;
  };
  const turn = String.raw`<\|im_start\|>user\nWhich is the largest: .*\?<\|im_end\|>\n<\|im_start\|>assistant\n`;
  const said = String.raw`\d\d<\|im_end\|>\n`;
  assert.match(
    shown.prompt,
    new RegExp(`^<\\|im_start\\|>system\\nAnswer with .*${turn}${said}${turn}${said}${turn}$`, 's'),
  );
  for (const role of [node, trainer]) assert.deepEqual(await role.interrupt(), { code: 0, signal: null });

  const asked = ['--once', 'Which is the largest: 34, 87, 12 or 56?', '--seed', '1'];
  const answer = (await lab.ask(['chat', '--data-dir', lab.dataDir('node'), '--threads', '1', ...asked])) as {
    promptTokens: number;
    answerTokens: number;
  };
  assert.ok(answer.promptTokens > 20 && answer.answerTokens >= 1, JSON.stringify(answer));
});
