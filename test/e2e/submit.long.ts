// A recipe from somebody else: taken by a trainer that takes everybody's, refused by one that takes its own only.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { murmurLab } from '../support/murmur-process.ts';
import { askUntil, RING_FLAGS, TINY_RECIPE } from '../support/ring.ts';

interface Submission {
  readonly recipeId: string;
  readonly name: string;
  readonly author: string;
  readonly accepted: boolean;
}

interface Recipes {
  readonly recipes: readonly { readonly recipeId: string; readonly state: string }[];
}

test('a trainer that takes all recipes takes one from another machine, and the ring turns on it', {
  timeout: 300_000,
}, async (t) => {
  const lab = await murmurLab(t);
  const recipe = join(lab.dir, 'mine.yaml');
  await writeFile(recipe, TINY_RECIPE.replace('tiny-arrows', 'somebody-elses'));
  const trainer = lab.start('trainer', ['train', ...RING_FLAGS, '--accept', 'all', '--eval-every', '0']);
  const joined = ['--network', 'ring', '--loopback', '--join', (await trainer.event('listening')).addresses[0]!];
  const submit = (...more: string[]): string[] => ['submit', ...more, ...joined, '--data-dir', lab.dataDir('author')];

  const broken = join(lab.dir, 'broken.yaml');
  await writeFile(broken, TINY_RECIPE.replace('arrows@1', 'sudoku@1'));
  const refused = await lab.refused(submit(broken));
  assert.deepEqual([refused.exit, refused.code], [4, 'RECIPE_UNKNOWN_TASK']);

  const submission = (await lab.ask(submit(recipe))) as Submission;
  assert.deepEqual([submission.name, submission.accepted], ['somebody-elses', true]);
  const { recipeId } = await trainer.event('recipe');
  assert.equal(recipeId, submission.recipeId);
  const { recipes } = await askUntil<Recipes>(lab, 'trainer', 'recipes', (answer) => answer.recipes.length > 0);
  assert.deepEqual(
    recipes.map((row) => [row.recipeId, row.state]),
    [[recipeId, 'open']],
  );
  const node = lab.start('node', ['node', ...joined, '--threads', '1']);
  await trainer.event('step', (step) => step.policyStep >= 1);
  for (const process of [node, trainer]) await process.interrupt();
  const { publicKey } = (await lab.ask(['id', '--data-dir', lab.dataDir('author')])) as { publicKey: string };
  assert.equal(submission.author, publicKey);
});

test('a trainer that takes only its own says so, and takes what is submitted beside it', {
  timeout: 300_000,
}, async (t) => {
  const lab = await murmurLab(t);
  const recipe = join(lab.dir, 'mine.yaml');
  await writeFile(recipe, TINY_RECIPE);
  const trainer = lab.start('trainer', ['train', ...RING_FLAGS, '--accept', 'author', '--eval-every', '0']);
  const address = (await trainer.event('listening')).addresses[0]!;
  await askUntil(lab, 'trainer', 'status', () => true);
  const strangers = ['--network', 'ring', '--loopback', '--join', address, '--data-dir', lab.dataDir('stranger')];
  const stranger = await lab.refused(['submit', recipe, ...strangers]);
  assert.deepEqual([stranger.exit, stranger.code], [3, 'NOT_FOUND']);
  assert.match(stranger.message, /--accept all/);
  const own = (await lab.ask(['submit', recipe, '--data-dir', lab.dataDir('trainer')])) as Submission;
  assert.equal(own.accepted, true);
  assert.equal((await trainer.event('recipe')).recipeId, own.recipeId);
  await trainer.interrupt();
});
