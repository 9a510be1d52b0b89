// Places of a step: what a crowd of keys can make anybody remember, and that it costs those who are known nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MIN_PLACES, placesOf } from '../../../verifier/checks/places.ts';
import { createSlotRegister, type SlotClaim } from '../../../verifier/checks/slots.ts';
import { testRecipe } from '../support/swarm.ts';

interface Asked {
  readonly peer: string;
  readonly slot?: number;
  readonly body?: string;
  readonly policyStep?: number;
  readonly isKnown?: boolean;
}

function claimOf({ peer, slot = 0, body = '', policyStep = 0, isKnown = false }: Asked): SlotClaim {
  const bodyHashHex = `${peer} ${policyStep} ${slot} ${body}`;
  return { peer, policyStep, slot, groupIdHex: bodyHashHex, bodyHashHex, isKnown };
}

/** Asks, notes what passes, and says what was answered. */
function register(places: number): {
  readonly take: (asked: Asked) => string;
  readonly forgetBefore: (step: number) => void;
} {
  const slots = createSlotRegister(places);
  return {
    forgetBefore: slots.forgetBefore,
    take(asked) {
      const answer = slots.ask(claimOf(asked), 0);
      if (answer.answer !== 'accept') return answer.code;
      slots.note(claimOf(asked), 0);
      return 'accept';
    },
  };
}

const count = (answers: readonly string[]): number => answers.filter((answer) => answer === 'accept').length;
const numbers = (length: number): number[] => Array.from({ length }, (_, i) => i);

test('one key takes half of the places, its first slots; a crowd takes the others and no more', () => {
  const { take } = register(16);
  const answers = numbers(40).map((slot) => take({ peer: 'one', slot }));
  assert.equal(answers.lastIndexOf('accept'), 7);
  assert.deepEqual([count(answers), new Set(answers.slice(8))], [8, new Set(['RATE_LIMITED'])]);
  assert.equal(count(numbers(40).map((i) => take({ peer: `crowd ${i}` }))), 8);
});

test('who is known has places that no stranger takes, and shares them with others who are known', () => {
  const { take } = register(16);
  for (const i of numbers(100)) take({ peer: `crowd ${i}` });
  const known = (peer: string): number => count(numbers(40).map((slot) => take({ peer, slot, isKnown: true })));
  assert.deepEqual([known('a'), known('b'), known('c'), known('d')], [8, 4, 2, 1]);
  const more = numbers(40).map((i) => take({ peer: `late ${i}`, isKnown: true }));
  assert.equal(count(more), 1);
});

test('evidence of two groups for one slot needs no place', () => {
  const { take } = register(4);
  for (const i of numbers(10)) take({ peer: `crowd ${i}` });
  assert.equal(take({ peer: 'crowd 3', body: 'other' }), 'accept');
  assert.equal(take({ peer: 'crowd 3', body: 'third' }), 'SLOT_SEEN');
  assert.equal(take({ peer: 'crowd 4', body: 'other' }), 'RATE_LIMITED', 'it has no first');
  assert.equal(take({ peer: 'crowd 3' }), 'accept', 'the same once more');
});

test('each step has its places, until it is forgotten', () => {
  const { take, forgetBefore } = register(4);
  const crowd = (policyStep: number): number =>
    count(numbers(10).map((i) => take({ peer: `crowd ${policyStep} ${i}`, policyStep })));
  assert.deepEqual([crowd(0), crowd(1), crowd(1)], [4, 4, 4], 'what comes again is no more');
  assert.equal(take({ peer: 'late', policyStep: 1 }), 'RATE_LIMITED');
  forgetBefore(1);
  assert.deepEqual([take({ peer: 'late', policyStep: 1 }), take({ peer: 'late' })], ['RATE_LIMITED', 'accept']);
});

test('whoever asks for whatever, in whatever order: never more slots than places, known and strangers apart', () => {
  const asked = fc.record({
    peer: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    slot: fc.nat(9),
    body: fc.constantFrom('', 'other'),
  });
  fc.assert(
    fc.property(fc.array(asked, { maxLength: 120 }), fc.integer({ min: 1, max: 9 }), (all, places) => {
      const { take } = register(places);
      const held = { true: new Set<string>(), false: new Set<string>() };
      for (const each of all) {
        const isKnown = each.peer < 'c';
        if (take({ ...each, isKnown }) === 'accept') held[`${isKnown}`].add(`${each.peer} ${each.slot}`);
        assert.ok(held.true.size <= places && held.false.size <= places);
      }
    }),
  );
});

test('a recipe whose steps take many groups has more places', () => {
  const { grpo } = testRecipe().recipe;
  assert.equal(placesOf({ grpo: { ...grpo, promptsPerStep: 8 } }), MIN_PLACES);
  assert.equal(placesOf({ grpo: { ...grpo, promptsPerStep: 10_000 } }), 160_000);
});
