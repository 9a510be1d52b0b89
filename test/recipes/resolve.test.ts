// Resolving: which problem a seed asks, several families by weight, rows, held-out problems, scores.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isSwarmError } from '../../node/protocol/errors.ts';
import { familyWord, taskWord } from '../../node/protocol/seeds.ts';
import { type ResolvedRecipe, resolveRecipe } from '../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe, type RecipeSource, recipeIdOf } from '../../recipes/schema.ts';
import { isHeldOut } from '../../recipes/tasks/task.ts';
import { shippedSource } from '../support/recipe-sources.ts';

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
const rows = [
  { prompt: 'a?', answer: '1' },
  { prompt: 'b?', answer: '2' },
  { prompt: 'c?', answer: '3' },
];

function resolved(replaced: RecipeSource = {}): ResolvedRecipe {
  return resolveRecipe(parseRecipe(canonicalRecipe(shippedSource('arrows', replaced))));
}

test('the id is that of the bytes, and problems follow from the seed alone', () => {
  const bytes = canonicalRecipe(shippedSource('arrows'));
  const one = resolveRecipe(parseRecipe(bytes));
  assert.deepEqual(one.recipeId, recipeIdOf(bytes));
  assert.equal(Buffer.from(one.recipeId).toString('hex'), one.recipeIdHex);
  const two = resolveRecipe(parseRecipe(bytes));
  fc.assert(fc.property(seeds, (seed) => assert.deepEqual(one.problemFor(seed), two.problemFor(seed))));
});

test('no held-out prompt is ever generated for rollouts', () => {
  const recipe = resolved({ tasks: [{ task: 'arrows@1' }, { task: 'sums@1' }, { task: 'sorting@1' }] });
  fc.assert(
    fc.property(seeds, (seed) => assert.equal(isHeldOut(recipe.problemFor(seed).problem.prompt), false)),
    { numRuns: 1000 },
  );
  for (const problem of recipe.heldOutProblems(64, 3)) assert.ok(isHeldOut(problem.prompt));
});

test('held-out problems: a longer list begins with the shorter one, another seed gives others', () => {
  const recipe = resolved();
  const list = recipe.heldOutProblems(32, 7);
  assert.equal(list.length, 32);
  assert.deepEqual(recipe.heldOutProblems(8, 7), list.slice(0, 8));
  assert.notDeepEqual(recipe.heldOutProblems(32, 8), list);
  assert.ok(new Set(list.map((problem) => problem.prompt)).size > 28);
});

test('families are chosen by cumulative integer weights of the family word', () => {
  const recipe = resolved({
    tasks: [
      { task: 'arrows@1', weight: 1 },
      { task: 'sums@1', weight: 2 },
      { rows, weight: 5 },
    ],
  });
  const expected = ['arrows@1', 'sums@1', 'sums@1', 'rows', 'rows', 'rows', 'rows', 'rows'];
  fc.assert(
    fc.property(seeds, (seed) => {
      assert.equal(recipe.problemFor(seed).family, expected[Number(familyWord(seed) % 8n)]);
    }),
  );
});

test('rows: the task word modulo their number', () => {
  const recipe = resolved({ tasks: [{ rows }] });
  fc.assert(
    fc.property(seeds, (seed) => {
      const drawn = recipe.problemFor(seed);
      assert.deepEqual(drawn, { family: 'rows', problem: rows[Number(taskWord(seed) % 3n)] });
      assert.equal(recipe.demonstrate(drawn), null);
    }),
  );
});

test('held-out rows are only for evaluation, and may not be trained on', () => {
  const heldOutRows = [{ prompt: 'd?', answer: '4' }];
  const recipe = resolved({ tasks: [{ rows, heldOutRows }] });
  assert.deepEqual(recipe.heldOutProblems(3, 0), [heldOutRows[0], heldOutRows[0], heldOutRows[0]]);
  assert.throws(
    () => resolved({ tasks: [{ rows, heldOutRows: [rows[0]!] }] }),
    (error) => isSwarmError(error, 'RECIPE_INVALID') && error.message.includes('a?'),
  );
});

test('chats: a system turn, solved examples of the family, then the question', () => {
  const chat = { system: 'Be brief.', examples: 3 };
  const recipe = resolved({ tasks: [{ task: 'largest@1', chat }] });
  const plain = resolved({ tasks: [{ task: 'largest@1' }] });
  fc.assert(
    fc.property(seeds, (seed) => {
      const { problem } = recipe.problemFor(seed);
      assert.deepEqual({ ...problem, turns: undefined }, { ...plain.problemFor(seed).problem, turns: undefined });
      const [system, ...examples] = problem.turns!;
      assert.deepEqual(system, { role: 'system', content: 'Be brief.' });
      assert.deepEqual(
        examples.map(({ role }) => role),
        ['user', 'assistant', 'user', 'assistant', 'user', 'assistant'],
      );
      const asked = examples.filter(({ role }) => role === 'user').map(({ content }) => content);
      assert.equal(new Set([...asked, problem.prompt]).size, 4, 'no two alike');
      for (const [i, { content }] of examples.entries()) {
        if (i % 2 === 0) assert.equal(isHeldOut(content), false);
        else assert.equal(recipe.isRight({ prompt: '', answer: content }, examples[i]!.content), true);
      }
      for (let i = 0; i < examples.length; i += 2) {
        const numbers = [...examples[i]!.content.matchAll(/\d+/g)].map(Number);
        assert.equal(examples[i + 1]!.content, String(Math.max(...numbers)));
      }
    }),
    { numRuns: 200 },
  );
  for (const { prompt, turns } of recipe.heldOutProblems(32, 1)) {
    assert.ok(isHeldOut(prompt));
    for (const { role, content } of turns!)
      assert.ok(role !== 'user' || !isHeldOut(content), 'examples are not held out');
  }
  assert.equal(plain.problemFor(new Uint8Array(32)).problem.turns, undefined);
});

test('chats without a system turn or examples are chats all the same', () => {
  const recipe = resolved({ tasks: [{ task: 'largest@1', chat: {} }] });
  assert.deepEqual(recipe.problemFor(new Uint8Array(32)).problem.turns, []);
});

test('a family too small for so many examples is refused', () => {
  const small = { task: 'largest@1', settings: { items: 2, minNumber: 1, maxNumber: 4 }, chat: { examples: 16 } };
  assert.throws(
    () => resolved({ tasks: [small] }),
    (error) => isSwarmError(error, 'RECIPE_INVALID'),
  );
});

test("rows: the task's turns come before the row's own", () => {
  const turns = [{ role: 'system', content: 's' }];
  const own = [
    { role: 'user', content: 'u' },
    { role: 'assistant', content: 'a' },
  ];
  const all = { rows: [{ prompt: 'p', answer: '1', turns: own }], chat: { turns } };
  const first = (task: RecipeSource): unknown => resolved({ tasks: [task] }).problemFor(new Uint8Array(32)).problem;
  assert.deepEqual(first(all), { prompt: 'p', answer: '1', turns: [...turns, ...own] });
  assert.deepEqual(first({ rows: all.rows }), { prompt: 'p', answer: '1', turns: own });
  assert.deepEqual(first({ rows: [rows[0]!], chat: { turns: [] } }), { ...rows[0], turns: [] });
  assert.deepEqual(first({ rows: [rows[0]!] }), rows[0]);
});

test('scores: integer millionths of the right answer, thought or blurted', () => {
  const recipe = resolved({
    rewards: [
      { reward: 'exact@1' },
      { reward: 'length-penalty@1', settings: { targetCharacters: 4, perCharacter: 0.01 } },
    ],
  });
  const drawn = recipe.problemFor(new Uint8Array(32));
  const { thinking, blurting } = recipe.demonstrate(drawn)!;
  assert.equal(recipe.score(drawn.problem, blurting), 1_000_000);
  assert.equal(recipe.score(drawn.problem, thinking), 1_000_000 - 10_000 * (thinking.length - 4));
  assert.equal(recipe.score(drawn.problem, 'zz'), 0);
  assert.equal(recipe.isRight(drawn.problem, thinking), true, 'a penalty on length does not make it wrong');
  assert.equal(recipe.isRight(drawn.problem, 'zz'), false);
});

test('scores are bounded integers whatever the completion', () => {
  const recipe = resolved({
    rewards: [
      { reward: 'exact@1', weight: 10 },
      { reward: 'number@1', weight: -10 },
      { reward: 'length-penalty@1', weight: 10 },
    ],
  });
  fc.assert(
    fc.property(seeds, fc.string({ unit: 'binary', maxLength: 200 }), (seed, completion) => {
      const score = recipe.score(recipe.problemFor(seed).problem, completion);
      assert.ok(Number.isInteger(score) && Math.abs(score) <= 30_000_000);
    }),
  );
});
