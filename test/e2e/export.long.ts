// A trained policy goes out and comes in again: exported while its trainer runs and after it has stopped, run by
// transformers.js, and the beginning of another swarm.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AutoModelForCausalLM, env, Tensor } from '@huggingface/transformers';
import { loadModelFolder, modelFingerprint } from '../../node/model/folder.ts';
import { toHex } from '../../node/protocol/bytes.ts';
import { greedyContinuation } from '../support/greedy.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { startRing } from '../support/ring.ts';

env.allowRemoteModels = false;

interface Exported {
  readonly out: string;
  readonly policyRoot: string;
  readonly policyStep: number | null;
  readonly recipe: string | null;
}

interface WeightsRow {
  readonly policyStep: number;
  readonly policyRoot: string;
  readonly here: boolean;
}

const rootOf = async (folder: string): Promise<string> => toHex((await modelFingerprint(folder)).policyRoot);

test('a policy is exported, run elsewhere, and begins another swarm', { timeout: 120_000 }, async (t) => {
  const lab = await murmurLab(t);
  const { trainer, joined } = await startRing(lab);
  const node = lab.start('node', ['node', ...joined]);
  await trainer.event('step', (step) => step.policyStep >= 2);
  const dataDir = lab.dataDir('trainer');
  const out = (name: string): string => join(lab.dir, name);
  const exportTo = async (name: string, ...args: readonly string[]): Promise<Exported> =>
    (await lab.ask(['export', ...args, '--data-dir', dataDir, '--out', out(name)])) as Exported;

  await t.test('of a running trainer, the newest', async () => {
    const { policyStep, policyRoot, recipe } = await exportTo('running', '--to', 'hf');
    assert.ok(policyStep! >= 2 && recipe === 'tiny-arrows', JSON.stringify({ policyStep, recipe }));
    assert.equal(await rootOf(out('running')), policyRoot);
  });

  await Promise.all([node.interrupt(), trainer.interrupt()]);
  const weights = (await lab.ask(['weights', '--data-dir', dataDir])) as readonly WeightsRow[];
  const kept = weights.filter((row) => row.here);
  const chosen = kept.find((row) => row.policyStep === 2) ?? kept.at(-1)!;

  await t.test('of a stopped one, by step: what the recipe says of sampling, and a card', async () => {
    const told = await exportTo('policy', String(chosen.policyStep), '--to', 'hf');
    assert.deepEqual([told.policyStep, told.policyRoot], [chosen.policyStep, chosen.policyRoot]);
    assert.equal(await rootOf(out('policy')), chosen.policyRoot);
    const generation = JSON.parse(await readFile(join(out('policy'), 'generation_config.json'), 'utf8'));
    assert.deepEqual([generation.eos_token_id, generation.temperature, generation.max_new_tokens], [[1], 1, 16]);
    const card = await readFile(join(out('policy'), 'README.md'), 'utf8');
    assert.ok(card.includes(chosen.policyRoot) && card.includes(`policy step | ${chosen.policyStep}`), card);
  });

  await t.test('by its root, to ONNX, and transformers.js continues as we do', async () => {
    await exportTo('onnx', chosen.policyRoot.slice(0, 12), '--to', 'onnx');
    const prompt = [3, 6, 21, 4, 8, 21, 5, 3, 22, 3, 14, 23];
    const ours = await greedyContinuation(await loadModelFolder(out('policy')), prompt, 16);
    const model = await AutoModelForCausalLM.from_pretrained(out('onnx'), { device: 'cpu' });
    const ids = new Tensor('int64', BigInt64Array.from(prompt, BigInt), [1, prompt.length]);
    const wanted = { inputs: ids, max_new_tokens: 16, do_sample: false, eos_token_id: 1_000_000 };
    const made = (await model.generate(wanted as Parameters<typeof model.generate>[0])) as Tensor;
    await model.dispose();
    assert.deepEqual((made.tolist() as bigint[][])[0]!.slice(prompt.length).map(Number), ours);
  });

  await t.test('as the model that another swarm begins with', async (inner) => {
    const ring = await startRing(await murmurLab(inner), ['--model', out('policy')]);
    const { policyRoot } = await ring.trainer.event('policy', (policy) => policy.policyStep === 0);
    assert.equal(policyRoot, chosen.policyRoot);
    await ring.trainer.interrupt();
  });
});
