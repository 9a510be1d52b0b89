// Which recipe a role takes up, and when a node leaves one for another.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KnownRecipe } from '../../../node/cli/recipe-book.ts';
import type { RoleContext } from '../../../node/cli/roles/role.ts';
import { MAX_OPEN, MAX_TAKEN, watchRecipes } from '../../../node/cli/roles/watch-recipes.ts';
import { SwarmError } from '../../../node/protocol/errors.ts';
import { silentLogger } from '../../support/silent-logger.ts';
import { until } from '../../support/until.ts';

function known(id: string, lastHeardMs: number, author = id): KnownRecipe {
  const resolved = { recipeIdHex: id, recipe: { name: id } } as KnownRecipe['resolved'];
  return { resolved, author, lastHeardMs, closed: false };
}

/** A context whose book holds the given recipes, those of `open` open. */
function contextOf(recipes: readonly KnownRecipe[], open: ReadonlySet<string>) {
  const stops: (() => unknown)[] = [];
  const book = {
    list: () => recipes,
    isOpen: (id: string) => open.has(id),
    find: (text: string) => recipes.find(({ resolved }) => resolved.recipeIdHex === text),
  };
  const context = {
    participant: { book, logger: silentLogger },
    emit: () => undefined,
    onStop: (step: () => unknown) => stops.push(step),
  } as unknown as RoleContext;
  return { context, stop: async () => Promise.all(stops.map((step) => step())) };
}

test('a node whose recipe gives nothing to do goes back to another that is open', { timeout: 20_000 }, async () => {
  const open = new Set(['first', 'second', 'silent']);
  const { context, stop } = contextOf([known('first', 3), known('silent', 2), known('second', 1)], open);
  const taken: string[] = [];
  let stalled = false;
  watchRecipes(context, {
    wanted: undefined,
    onOpen: async ({ resolved }) => void taken.push(resolved.recipeIdHex),
    isStalled: () => {
      const now = stalled;
      stalled = false;
      return now;
    },
  });
  await until(() => taken.length === 3, 'three are taken');
  assert.deepEqual(taken, ['first', 'silent', 'second']);
  open.delete('silent');
  stalled = true;
  await until(() => taken.length === 4, 'another is taken');
  assert.equal(taken[3], 'first', 'the one whose trainer was heard of last, of those that are open');
  open.delete('second');
  stalled = true;
  await until(() => !stalled, 'there is something to do');
  await new Promise((done) => setTimeout(done, 100));
  assert.equal(taken.length, 4, 'nothing else is open: the node stays');
  await stop();
});

test('a recipe whose tokenizer has no end is tried once, and not gone back to', { timeout: 20_000 }, async () => {
  const { context, stop } = contextOf([known('slow', 2), known('good', 1)], new Set(['slow', 'good']));
  const tried: string[] = [];
  let asked = 0;
  watchRecipes(context, {
    wanted: undefined,
    onOpen: async ({ resolved: { recipeIdHex } }) => {
      tried.push(recipeIdHex);
      if (recipeIdHex === 'slow') throw new SwarmError('TOKENIZER_TOO_SLOW', 'has no end');
    },
    isStalled: () => ++asked > 0,
  });
  await until(() => asked === 2, 'it has nothing to do twice');
  await stop();
  assert.deepEqual(tried, ['slow', 'good']);
});

test('a verifier takes up a recipe while another waits for its first policy', { timeout: 20_000 }, async () => {
  const { context, stop } = contextOf([known('waits', 1), known('runs', 1)], new Set(['waits', 'runs']));
  const started: string[] = [];
  const weights = Promise.withResolvers<void>();
  watchRecipes(context, {
    wanted: undefined,
    together: true,
    onOpen: async ({ resolved }) => {
      if (resolved.recipeIdHex === 'waits') await weights.promise;
      started.push(resolved.recipeIdHex);
    },
  });
  await until(() => started.includes('runs'), 'the other has started');
  assert.deepEqual(started, ['runs']);
  weights.resolve();
  await stop();
  assert.deepEqual(started, ['runs', 'waits']);
});

test('strangers’ recipes are taken up to a number, of one author to a smaller one, and in all', {
  timeout: 20_000,
}, async (t) => {
  const many = Array.from({ length: 2 * MAX_TAKEN }, (_, i) => known(`recipe ${i}`, 1));
  const ofOne = Array.from({ length: 10 }, (_, i) => known(`of one ${i}`, 1, 'one'));
  const open = new Set(ofOne.map(({ resolved }) => resolved.recipeIdHex));
  const { context, stop } = contextOf([...ofOne, ...many], open);
  t.after(stop);
  const taken: string[] = [];
  watchRecipes(context, {
    wanted: undefined,
    onOpen: async ({ resolved }) => void taken.push(resolved.recipeIdHex),
  });
  await until(() => taken.length === 4, 'four of one author');
  for (const { resolved } of many) open.add(resolved.recipeIdHex);
  await until(() => taken.length === MAX_OPEN, 'as many as may be open at once');
  await new Promise((done) => setTimeout(done, 700));
  assert.equal(taken.length, MAX_OPEN);
  while (taken.length < MAX_TAKEN) {
    for (const id of taken) open.delete(id);
    const before = taken.length;
    await until(() => taken.length === before + MAX_OPEN, 'others when those have closed');
  }
  for (const id of taken) open.delete(id);
  await new Promise((done) => setTimeout(done, 700));
  assert.equal(taken.length, MAX_TAKEN);
});
