// The generated families: right answers by brute force, the held-out rule, and golden files that fix what a seed makes.
// A missing golden file is written with MURMUR_UPDATE=1; an existing one is never changed: make a new version instead.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { uniformStream } from '../../../node/protocol/seeds.ts';
import { exact } from '../../../recipes/rewards/exact.ts';
import { MILLION } from '../../../recipes/rewards/reward.ts';
import { knownTasks, taskFamily } from '../../../recipes/tasks/table.ts';
import {
  drawInteger,
  drawProblem,
  drawShuffled,
  isHeldOut,
  type Problem,
  taskId,
} from '../../../recipes/tasks/task.ts';
import { STARTER_CHARACTERS } from '../../support/character-tokenizer.ts';

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
const splits = fc.constantFrom('training' as const, 'held-out' as const);

/** Settings of each family, from the easiest to the hardest, as a recipe may give them. */
const SETTINGS: Readonly<Record<string, readonly object[]>> = {
  'arrows@1': [{}, { letters: 4, minHops: 1, maxHops: 1 }, { letters: 8, minHops: 2, maxHops: 9 }],
  'largest@1': [{}, { items: 2, minNumber: 10, maxNumber: 99 }, { items: 8, minNumber: 1, maxNumber: 999_999 }],
  'sums@1': [{}, { minTerms: 2, maxTerms: 2, maxTerm: 9 }, { minTerms: 8, maxTerms: 8, maxTerm: 9999 }],
  'sorting@1': [{}, { minItems: 3, maxItems: 3 }, { minItems: 3, maxItems: 16 }],
};

/** Families that speak English: for pretrained models, not in the starter's characters. */
const ENGLISH: readonly string[] = ['largest@1'];

/** Answers worked out of the prompt alone, by other means than the families use. */
const BRUTE_FORCE: Readonly<Record<string, (prompt: string) => string>> = {
  'arrows@1': (prompt) => {
    const [pairs, question] = prompt.slice(0, -1).split(':') as [string, string];
    let at = question[0]!;
    for (let hop = 0; hop < Number(question.slice(1)); hop++) {
      at = pairs.split(',').find((pair) => pair.startsWith(at))![1]!;
    }
    return at;
  },
  'largest@1': (prompt) => {
    const numbers = [...prompt.matchAll(/\d+/g)].map(([digits]) => digits);
    return numbers.toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1)).at(-1)!;
  },
  'sums@1': (prompt) => {
    const terms = prompt.slice(0, -1).split('+');
    let total = 0n;
    for (const term of terms) total += BigInt(term);
    return `${total}`;
  },
  'sorting@1': (prompt) => {
    const digits = prompt.slice(0, -1).split(',');
    return [...'0123456789'].flatMap((digit) => digits.filter((other) => other === digit)).join(',');
  },
};

test('every family has settings to test and a brute-force solver', () => {
  assert.deepEqual(Object.keys(SETTINGS).toSorted(), [...knownTasks()].toSorted());
  assert.deepEqual(Object.keys(BRUTE_FORCE).toSorted(), [...knownTasks()].toSorted());
});

for (const id of knownTasks()) {
  const family = taskFamily(id);
  const all = SETTINGS[id]!.map((settings) => family.settings.parse(settings));

  test(`${id}: answers are those of brute force, whatever the seed`, () => {
    fc.assert(
      fc.property(seeds, fc.nat(all.length - 1), splits, (seed, which, split) => {
        const problem = drawProblem(family, all[which], uniformStream(seed), split);
        assert.equal(problem.answer, BRUTE_FORCE[id]!(problem.prompt));
        const { thinking, blurting } = family.demonstrate(problem);
        const text = ENGLISH.includes(id) ? thinking : problem.prompt + thinking;
        for (const character of text) assert.ok(STARTER_CHARACTERS.includes(character));
        const settings = { after: '>', trim: false };
        assert.equal(exact.score(problem, thinking, settings), MILLION);
        assert.equal(exact.score(problem, blurting, settings), MILLION);
      }),
      { numRuns: 150 },
    );
  });

  test(`${id}: rollouts never see a held-out prompt, evaluation sees nothing else`, () => {
    fc.assert(
      fc.property(seeds, fc.nat(all.length - 1), splits, (seed, which, split) => {
        const problem = drawProblem(family, all[which], uniformStream(seed), split);
        const firstByte = createHash('sha256').update(Buffer.from(problem.prompt)).digest()[0]!;
        assert.equal(firstByte < 16, split === 'held-out');
      }),
      { numRuns: 150 },
    );
  });

  test(`${id}: what a seed makes never changes`, () => {
    const url = new URL(`../golden/${id}.json`, import.meta.url);
    const made = SETTINGS[id]!.map((settings, which) => ({
      settings,
      problems: Array.from({ length: 8 }, (_, i): Problem & { readonly seed: string; readonly split: string } => {
        const seed = createHash('sha256').update(`golden ${i}`).digest();
        const split = i < 6 ? 'training' : 'held-out';
        return { seed: seed.toString('hex'), split, ...drawProblem(family, all[which], uniformStream(seed), split) };
      }),
    }));
    if (!existsSync(url) && process.env['MURMUR_UPDATE'] === '1')
      writeFileSync(url, `${JSON.stringify(made, null, 2)}\n`);
    assert.deepEqual(made, JSON.parse(readFileSync(url, 'utf8')));
  });

  test(`${id}: a problem of another making cannot be demonstrated`, () => {
    for (const prompt of ['', 'x', '1+1', 'aa:a1', 'ab,bc,cd,de:a1=', 'Which is the largest: 4?']) {
      assert.throws(
        () => family.demonstrate({ prompt, answer: '1' }),
        (error) => isSwarmError(error, 'RECIPE_INVALID'),
      );
    }
  });

  test(`${id}: settings out of bounds or unknown are refused`, () => {
    assert.equal(family.settings.safeParse({ unheardOf: 1 }).success, false);
    const defaults = family.settings.parse({}) as Record<string, number>;
    for (const name of Object.keys(defaults)) {
      for (const value of [0, -1, 1e9, 4.5, '4', null]) {
        assert.equal(family.settings.safeParse({ ...defaults, [name]: value }).success, false, `${name}: ${value}`);
      }
    }
    const min = Object.keys(defaults).find((name) => name.startsWith('min'))!;
    const crossed = { ...defaults, [min]: defaults[min.replace('min', 'max')]! + 1 };
    assert.equal(family.settings.safeParse(crossed).success, false, 'least above most');
  });
}

test('the example of the spec: adfbec is walked four hops from a', () => {
  const problem = { prompt: 'ad,bf,ca,de,eb,fc:a4=', answer: 'f' };
  assert.deepEqual(taskFamily('arrows@1').demonstrate(problem), { thinking: '<d3e2b1f0>f', blurting: 'f' });
  assert.equal(BRUTE_FORCE['arrows@1']!(problem.prompt), 'f');
});

test('demonstrations of the other families show the steps', () => {
  assert.equal(
    taskFamily('largest@1').demonstrate({ prompt: 'Which is the largest: 34, 9, 12 or 56?', answer: '56' }).thinking,
    '<34,34,34,56>56',
  );
  assert.equal(taskFamily('sums@1').demonstrate({ prompt: '17+25+9=', answer: '51' }).thinking, '<42,51>51');
  assert.equal(
    taskFamily('sorting@1').demonstrate({ prompt: '7,3,9,1=', answer: '1,3,7,9' }).thinking,
    '<1:739,3:79,7:9,9:>1,3,7,9',
  );
});

test('arrows: one cycle over all letters, every arrow once', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const family = taskFamily('arrows@1');
      const { prompt } = family.generate(uniformStream(seed), family.settings.parse({}));
      const next = new Map(
        prompt
          .split(':')[0]!
          .split(',')
          .map((pair) => [pair[0]!, pair[1]!]),
      );
      const seen = new Set<string>();
      for (let at = 'a'; !seen.has(at); at = next.get(at)!) seen.add(at);
      assert.equal(seen.size, 6);
    }),
  );
});

test('one prompt in sixteen is held out', () => {
  const held = Array.from({ length: 4096 }, (_, i) => isHeldOut(`${i}`)).filter(Boolean).length;
  // 256 expected, standard deviation 15.5
  assert.ok(held > 180 && held < 340, `${held} of 4096`);
});

test('a family that makes one prompt only is refused, not searched for ever', () => {
  const family = { ...taskFamily('sums@1'), generate: () => ({ prompt: '1+1=', answer: '2' }) };
  const draw = uniformStream(new Uint8Array(32));
  const other = isHeldOut('1+1=') ? 'training' : 'held-out';
  assert.throws(
    () => drawProblem(family, {}, draw, other),
    (error) => isSwarmError(error, 'RECIPE_INVALID'),
  );
});

test('drawing uses the documented number of uniforms and covers its range', () => {
  const counted = (values: readonly number[]) => {
    let used = 0;
    return { next: () => values[used++]!, used: () => used };
  };
  const low = counted([0]);
  assert.equal(drawInteger(low, 3, 5), 3);
  assert.equal(drawInteger(counted([1 - 2 ** -53]), 3, 5), 5);
  assert.equal(low.used(), 1);
  const shuffle = counted([0, 0, 0]);
  assert.deepEqual(drawShuffled(shuffle, ['a', 'b', 'c', 'd']), ['b', 'c', 'd', 'a']);
  assert.equal(shuffle.used(), 3);
  const family = taskFamily('arrows@1');
  assert.equal(taskId(family), 'arrows@1');
  const draws = counted(Array.from({ length: 20 }, () => 0.5));
  family.generate(draws, family.settings.parse({}));
  assert.equal(draws.used(), 5 + 5 + 1 + 1);
});
