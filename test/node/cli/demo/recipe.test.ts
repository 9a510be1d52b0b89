// Which recipe a demo runs, on which swarm, and when it ends.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { arrowsGoal, fixedGoal, gainedGoal } from '../../../../node/cli/demo/goal.ts';
import { writeDemoRecipe } from '../../../../node/cli/demo/recipe.ts';
import { bytesAtMost, swarmSize } from '../../../../node/cli/demo/size.ts';
import { isSwarmError } from '../../../../node/protocol/errors.ts';
import { parseRecipe } from '../../../../recipes/schema.ts';
import { runInProcess } from '../../../support/run-program.ts';
import { tempDir } from '../../../support/temp-dir.ts';

async function demoRecipe(dir: string, recipe: string): ReturnType<typeof writeDemoRecipe> {
  return writeDemoRecipe({
    recipe,
    file: join(dir, 'demo', 'recipe.json'),
    model: undefined,
    trainerDir: join(dir, 'trainer'),
    verifierDir: join(dir, 'verifier'),
  });
}

const STRANGER = 'ab'.repeat(32);
const OF_ANOTHER_SWARM = `
version: 1
name: my-sums
author: ${STRANGER}
trainers: [${STRANGER}]
tasks: [{ task: sums@1 }]
rewards: [{ reward: exact@1 }]
sampling: { temperature: 1, maxNewTokens: 8, endTokens: [1] }
verification: { verifiers: [${STRANGER}], acceptance: { rule: quorum, quorum: 3 }, pMin: 0.25 }
`;

test("a recipe of another swarm keeps its content and gets the demo's own keys", async (t) => {
  const dir = await tempDir(t);
  const file = join(dir, 'mine.yaml');
  await writeFile(file, OF_ANOTHER_SWARM);
  const { recipe, parameters } = await demoRecipe(dir, file);
  const written = parseRecipe(await readFile(join(dir, 'demo', 'recipe.json')));
  assert.deepEqual(written, recipe);
  assert.equal(recipe.name, 'my-sums');
  assert.deepEqual([recipe.sampling.maxNewTokens, recipe.verification.pMin], [8, 0.25]);
  assert.notEqual(recipe.author, STRANGER);
  assert.deepEqual(recipe.trainers, [recipe.author]);
  assert.equal(recipe.verification.verifiers.length, 1);
  assert.equal(recipe.verification.acceptance.rule, 'own', 'a quorum of the strangers would be waited for in vain');
  assert.ok(![STRANGER, recipe.author].includes(recipe.verification.verifiers[0]!));
  assert.equal(parameters, 857_216);
});

test('a recipe that the model cannot be asked is refused before any process starts', async (t) => {
  const dir = await tempDir(t);
  await assert.rejects(demoRecipe(dir, 'largest'), (error) => isSwarmError(error, 'CHAT_TEMPLATE_MISSING'));
  await assert.rejects(readFile(join(dir, 'demo', 'recipe.json')));
  const unknown = await runInProcess(['demo', '--recipe', 'no-such', '--data-dir', join(dir, 'new')]);
  assert.equal(unknown.code, 3);
  assert.match(unknown.stderr, /RECIPE_NOT_FOUND/);
  const nowhere = await runInProcess([
    'demo',
    '--json-file',
    join(dir, 'none', 'out.json'),
    '--data-dir',
    join(dir, 'new'),
  ]);
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.stderr, /--json-file.*USAGE/);
  await writeFile(join(dir, 'left'), 'by another');
  const used = await runInProcess(['demo', '--data-dir', dir]);
  assert.equal(used.code, 2);
  assert.match(used.stderr, /not empty.*USAGE/);
});

test('enough is 0.93 of arrows and 0.38 more than before; of others three quarters of what was missing', () => {
  assert.equal(arrowsGoal(0.5), 0.93);
  assert.equal(arrowsGoal(0.58), 0.96);
  // More than that nobody can gain: a policy of an earlier demo ends too.
  assert.equal(arrowsGoal(0.95), 0.97);
  assert.equal(gainedGoal(0.2), 0.8);
  assert.equal(gainedGoal(0), 0.75);
  assert.equal(gainedGoal(1), 1);
  assert.equal(fixedGoal(0.7)(0.1), 0.7);
});

test('a small model gets the whole swarm, a large one the least of it, unless asked otherwise', () => {
  const small = swarmSize(857_216, 16);
  assert.deepEqual(small, {
    ...{ nodes: 3, evalTasks: 512, trainerThreads: 1, threads: 1 },
    ...{ trainerMemoryBytes: 2e9, memoryBytes: 2e9 },
  });
  // 135 M parameters are 540 MB: 5 copies are 2.7 GB, 8 are 4.3.
  const large = swarmSize(135e6, 16);
  assert.deepEqual(large, {
    ...{ nodes: 1, evalTasks: 128, trainerThreads: 8, threads: 4 },
    ...{ trainerMemoryBytes: 5e9, memoryBytes: 3e9 },
  });
  assert.deepEqual([swarmSize(135e6, 2).trainerThreads, swarmSize(135e6, 2).threads], [1, 1]);
  const asked = swarmSize(135e6, 16, { nodes: 4, evalTasks: 64 });
  assert.deepEqual([asked.nodes, asked.evalTasks], [4, 64]);
  // 5 GB, 16 bytes a parameter, and 3 GB for each of verifier, node and liar
  assert.equal(bytesAtMost(135e6, large, 3), 5e9 + 2.16e9 + 9e9);
});
