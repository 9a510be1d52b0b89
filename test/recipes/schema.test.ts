// Parsing recipes: canonical form and id, defaults, bounds, and hostile input that must end in a RecipeError.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ErrorCode, isSwarmError } from '../../node/protocol/errors.ts';
import { RECIPE_MAX_BYTES } from '../../node/protocol/limits.ts';
import { completeRecipe } from '../../recipes/complete.ts';
import { RecipeError } from '../../recipes/error.ts';
import { resolveRecipe } from '../../recipes/resolve.ts';
import {
  canonicalRecipe,
  parseRecipe,
  parseRecipeText,
  type RecipeSource,
  recipeIdOf,
  recipeJsonSchema,
} from '../../recipes/schema.ts';
import { LORA_TARGETS, LOSS_SETTINGS } from '../../recipes/sections.ts';
import { LOSSES } from '../../trainer/grpo/losses.ts';
import { FILL, madeUpHex, shippedSource, shippedTemplate } from '../support/recipe-sources.ts';

const text = (source: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(source));

/** Asserts that `run` throws this code, and that the message holds `part`. */
function refuses(run: () => unknown, code: ErrorCode, part = ''): void {
  assert.throws(run, (error) => {
    assert.ok(isSwarmError(error, code), String(error));
    assert.ok(error.message.includes(part), `${error.message} lacks ${part}`);
    return true;
  });
}

test('the shipped recipes parse, with the defaults of the specs', () => {
  for (const name of ['arrows', 'sums', 'sorting'] as const) {
    const recipe = parseRecipe(canonicalRecipe(shippedSource(name)));
    assert.equal(recipe.groupSize, 16);
    assert.equal(recipe.staleness.maxStepWaitMs, 30_000);
    assert.equal(recipe.staleness.maxSlotsPerStep, 4096);
    assert.deepEqual(recipe.verification, {
      delta: 1e-4,
      maxLogprobDrift: 1e-3,
      maxMeanLogprobDrift: 1e-4,
      toploc: { maxExponentMismatches: 38, maxMantissaErrorMean: 10, maxMantissaErrorMedian: 8 },
      probationGroups: 8,
      pMin: 0.1,
      quarantineSteps: 14,
      replayConsumed: true,
      verifiers: FILL.verifiers,
      acceptance: { rule: 'own', minStanding: 0.8, quorum: 2 },
    });
    assert.equal(recipe.maxKeyShare, 1 / 8);
    assert.equal(recipe.author, FILL.author);
  }
});

test('largest asks a chat with four solved examples and scores the whole answer', () => {
  const recipe = resolveRecipe(parseRecipe(canonicalRecipe(shippedSource('largest'))));
  const [problem] = recipe.heldOutProblems(1, 0);
  assert.deepEqual(problem!.turns!.map(({ role }) => role[0]).join(''), 'suauauaua');
  assert.equal(recipe.score(problem!, problem!.answer), 1_000_000);
  for (const wrong of ['', `${problem!.answer}0`, `It is ${problem!.answer}`, problem!.prompt]) {
    assert.equal(recipe.score(problem!, wrong), 0, wrong);
  }
});

test('arrows has the settings of the prototype', () => {
  const recipe = parseRecipe(canonicalRecipe(shippedSource('arrows')));
  const { loss, advantages, normalisation, learningRate, warmUpSteps, beta2, clipNorm } = recipe.grpo;
  assert.deepEqual([loss, advantages, normalisation], ['aipo', 'mean', 'token']);
  assert.deepEqual([learningRate, warmUpSteps, beta2, clipNorm], [6e-5, 10, 0.95, 1]);
  assert.deepEqual(
    [recipe.grpo.promptsPerStep, recipe.grpo.sequencesPerUpdate, recipe.grpo.maxUpdatesPerStep],
    [16, 128, 2],
  );
  assert.deepEqual([recipe.sampling.temperature, recipe.sampling.topK, recipe.sampling.topP], [1, 0, 1]);
});

test('the id is SHA-256 of the canonical form, whatever the order and spacing', () => {
  const source = shippedSource('arrows');
  const reversed = Object.fromEntries(Object.entries(source).toReversed());
  const bytes = canonicalRecipe(source);
  assert.deepEqual(canonicalRecipe(reversed), bytes);
  assert.deepEqual(canonicalRecipe(parseRecipeText(JSON.stringify(source, null, 4), 'json')), bytes);
  const id = createHash('sha256').update(bytes).digest('hex');
  assert.equal(Buffer.from(recipeIdOf(bytes)).toString('hex'), id);
  assert.equal(parseRecipe(bytes).recipeIdHex, id);
});

test('defaults are not filled into the canonical form', () => {
  const bytes = canonicalRecipe(shippedSource('arrows'));
  const written = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  assert.equal('maxKeyShare' in written, false);
  assert.equal(parseRecipe(bytes).maxKeyShare, 1 / 8);
});

test('bytes that are not canonical are refused', () => {
  const source = shippedSource('arrows');
  const canonical = new TextDecoder().decode(canonicalRecipe(source));
  refuses(() => parseRecipe(new TextEncoder().encode(` ${canonical}`)), 'RECIPE_INVALID', 'canonical');
  const twice = canonical.replace('{', '{"author":"x",');
  refuses(() => parseRecipe(new TextEncoder().encode(twice)), 'RECIPE_INVALID', 'canonical');
  refuses(() => parseRecipe(new TextEncoder().encode(`\ufeff${canonical}`)), 'RECIPE_INVALID');
  refuses(() => parseRecipe(new Uint8Array([0xff, 0xfe])), 'RECIPE_INVALID');
});

test('what is wrong is named with its path', () => {
  const cases: readonly (readonly [RecipeSource, string])[] = [
    [{ grpo: { learningRate: -1 } }, 'recipe.grpo.learningRate'],
    [{ grpo: { learnRate: 1 } }, 'learnRate'],
    [
      { grpo: { loss: 'aipo', lossSettings: { tau: 1 } } },
      'recipe.grpo.lossSettings.tau: loss aipo has no setting tau',
    ],
    [{ groupSize: 1 }, 'recipe.groupSize'],
    [{ version: 2 }, 'recipe.version'],
    [{ unheardOf: 1 }, 'unheardOf'],
    [{ sampling: { maxNewTokens: 16, endTokens: [] } }, 'recipe.sampling.endTokens'],
    [{ sampling: { maxNewTokens: 65_536, endTokens: [1] }, groupSize: 256 }, 'recipe.sampling.maxNewTokens'],
    [{ staleness: { maxLagSteps: 5 } }, 'recipe.staleness.keepPolicies: keepPolicies must be at least maxLagSteps + 1'],
    [{ tasks: [] }, 'recipe.tasks'],
    [{ tasks: [{ task: 'arrows@1', settings: { letters: 60 } }] }, 'recipe.tasks[0].settings.letters'],
    [{ tasks: [{ rows: [{ prompt: '1+1=' }] }] }, 'recipe.tasks[0].rows[0].answer'],
    [{ tasks: [{ task: 'sums@1', chat: { examples: 33 } }] }, 'recipe.tasks[0].chat.examples'],
    [{ tasks: [{ task: 'sums@1', chat: { turns: [] } }] }, 'turns'],
    [
      { tasks: [{ rows: [{ prompt: 'a', answer: 'b', turns: [{ role: 'tool', content: '' }] }] }] },
      'recipe.tasks[0].rows[0].turns[0].role',
    ],
    [{ rewards: [{ reward: 'exact@1', settings: { after: 7 } }] }, 'recipe.rewards[0].settings.after'],
    [{ trainers: ['AB'.repeat(32)] }, 'recipe.trainers[0]'],
    [{ verification: { toploc: { maxExponentMismatches: 129 } } }, 'recipe.verification.toploc.maxExponentMismatches'],
  ];
  for (const [replaced, path] of cases) refuses(() => shippedSource('arrows', replaced), 'RECIPE_INVALID', path);
});

test('unknown tasks and rewards are told with those that are known', () => {
  refuses(
    () => shippedSource('arrows', { tasks: [{ task: 'arrows@9' }] }),
    'RECIPE_UNKNOWN_TASK',
    'arrows@1, largest@1, sorting@1',
  );
  refuses(() => shippedSource('arrows', { rewards: [{ reward: 'judge@1' }] }), 'RECIPE_UNKNOWN_REWARD', 'exact@1');
  refuses(() => shippedSource('arrows', { tasks: [{ task: '__proto__' }] }), 'RECIPE_UNKNOWN_TASK');
});

test('a recipe over 256 KiB is refused before it is read', () => {
  const rows = Array.from({ length: 5 }, () => ({ prompt: 'x'.repeat(60_000), answer: 'y' }));
  refuses(() => shippedSource('arrows', { tasks: [{ rows }] }), 'RECIPE_TOO_LARGE');
  refuses(() => parseRecipe(new Uint8Array(RECIPE_MAX_BYTES + 1)), 'RECIPE_TOO_LARGE');
  refuses(() => parseRecipeText(' '.repeat(RECIPE_MAX_BYTES + 1), 'yaml'), 'RECIPE_TOO_LARGE');
});

test('hostile nesting, names, numbers and aliases end in a RecipeError', () => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  refuses(() => parseRecipe(new TextEncoder().encode(deep)), 'RECIPE_INVALID');
  refuses(() => parseRecipe(new TextEncoder().encode('{"a":'.repeat(40_000))), 'RECIPE_INVALID');
  refuses(() => parseRecipeText('['.repeat(5_000), 'yaml'), 'RECIPE_INVALID');
  refuses(() => parseRecipeText('{"__proto__": {"author": 1}}', 'json'), 'RECIPE_INVALID');
  refuses(() => parseRecipe(text({ name: '\ud800' })), 'RECIPE_INVALID');
  refuses(() => parseRecipe(new TextEncoder().encode('{"version":1e999}')), 'RECIPE_INVALID');
  const bomb = `a: &a [1,1]\n${Array.from({ length: 12 }, (_, i) => `b${i}: &b${i} [*${i ? `b${i - 1}` : 'a'}, *a]`).join('\n')}`;
  refuses(() => parseRecipeText(bomb, 'yaml'), 'RECIPE_INVALID');
  refuses(() => parseRecipeText('lr: .inf', 'yaml'), 'RECIPE_INVALID', 'recipe.lr');
  refuses(() => parseRecipeText('a: 1\na: 2', 'yaml'), 'RECIPE_INVALID');
  refuses(() => parseRecipeText('- a', 'yaml'), 'RECIPE_INVALID', 'expected an object');
  refuses(() => parseRecipeText('', 'yaml'), 'RECIPE_INVALID');
  refuses(() => parseRecipeText('!!binary aGk=', 'yaml'), 'RECIPE_INVALID');
  refuses(() => parseRecipeText('{', 'json'), 'RECIPE_INVALID', 'not JSON');
});

test('whatever the bytes or the text, nothing but a RecipeError comes out', () => {
  const only = (run: () => unknown): void => {
    try {
      run();
    } catch (error) {
      assert.ok(error instanceof RecipeError, String(error));
    }
  };
  fc.assert(
    fc.property(fc.uint8Array(), fc.json(), fc.string({ unit: 'binary' }), (bytes, json, any) => {
      only(() => parseRecipe(bytes));
      only(() => parseRecipe(new TextEncoder().encode(json)));
      only(() => parseRecipeText(json, 'json'));
      only(() => parseRecipeText(any, 'yaml'));
      only(() => parseRecipeText(json, 'yaml'));
    }),
    { numRuns: 300 },
  );
});

test('a recipe with one field replaced by anything parses or is refused with a RecipeError', () => {
  const source = shippedSource('arrows');
  const field = fc.constantFrom(...Object.keys(source), 'verification', 'maxKeyShare');
  fc.assert(
    fc.property(field, fc.jsonValue({ maxDepth: 4 }), (name, value) => {
      try {
        parseRecipe(canonicalRecipe({ ...source, [name]: value as null }));
      } catch (error) {
        assert.ok(error instanceof RecipeError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test('completing fills in what a template leaves out and keeps what it says', () => {
  const template = shippedTemplate('arrows');
  refuses(() => canonicalRecipe(template), 'RECIPE_INVALID', 'recipe.author');
  const own = { ...template, trainers: [madeUpHex('own')], model: { hubId: 'owner/name' } };
  const recipe = parseRecipe(canonicalRecipe(completeRecipe(own, FILL)));
  assert.deepEqual(recipe.trainers, [madeUpHex('own')]);
  assert.deepEqual(recipe.model, { ...FILL.model, hubId: 'owner/name' });
  refuses(() => completeRecipe({ ...template, author: madeUpHex('other') }, FILL), 'RECIPE_INVALID', 'recipe.author');
});

test('adapters are off unless asked for, and then have defaults', () => {
  assert.equal(parseRecipe(canonicalRecipe(shippedSource('arrows'))).grpo.lora, undefined);
  const { lora } = parseRecipe(canonicalRecipe(shippedSource('arrows', { grpo: { lora: { rank: 4 } } }))).grpo;
  assert.deepEqual(lora, { rank: 4, alpha: 16, targets: [...LORA_TARGETS] });
  const targets = (names: string[]) => shippedSource('arrows', { grpo: { lora: { targets: names } } });
  refuses(() => canonicalRecipe(targets(['lm_head'])), 'RECIPE_INVALID', 'recipe.grpo.lora.targets');
  refuses(() => canonicalRecipe(targets([])), 'RECIPE_INVALID', 'recipe.grpo.lora.targets');
});

test('losses and their settings are those that the trainer knows', () => {
  const known = Object.entries(LOSSES).map(([name, rule]) => [name, Object.keys(rule.defaults)]);
  assert.deepEqual(LOSS_SETTINGS, Object.fromEntries(known));
});

test('recipes/recipe.schema.json is up to date (MURMUR_UPDATE=1 writes it)', () => {
  const url = new URL('../../recipes/recipe.schema.json', import.meta.url);
  const schema = recipeJsonSchema();
  if (process.env['MURMUR_UPDATE'] === '1') writeFileSync(url, `${JSON.stringify(schema, null, 2)}\n`);
  assert.deepEqual(JSON.parse(readFileSync(url, 'utf8')), JSON.parse(JSON.stringify(schema)));
});

test('every field of the JSON Schema has a doc line', () => {
  const bare: string[] = [];
  const walk = (node: unknown, path: string): void => {
    if (typeof node !== 'object' || node === null) return;
    const { properties, items, anyOf } = node as Record<string, unknown>;
    for (const [name, field] of Object.entries((properties ?? {}) as Record<string, Record<string, unknown>>)) {
      if (field['description'] === undefined) bare.push(`${path}.${name}`);
      walk(field, `${path}.${name}`);
    }
    walk(items, `${path}[]`);
    for (const branch of (anyOf ?? []) as unknown[]) walk(branch, path);
  };
  walk(recipeJsonSchema(), 'recipe');
  assert.deepEqual(bare, []);
});
