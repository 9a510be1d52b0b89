// Seeds and uniforms against the reference (rollouts.json, made by an independent reading of the spec in Python).

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fromHex, sha256, toHex, utf8 } from '../../../node/protocol/bytes.ts';
import {
  familyWord,
  groupSeed,
  sequenceSeed,
  taskSeed,
  taskWord,
  uniformStream,
  uniforms,
} from '../../../node/protocol/seeds.ts';
import { readVector } from '../../support/vectors-dir.ts';

interface SeedCase {
  readonly recipe_id: string;
  readonly policy_root: string;
  readonly peer_id_bytes: string;
  readonly slot: number;
  readonly group_seed: string;
  readonly task_u64: string;
  readonly task_of_1319: number;
  readonly sequences: readonly { readonly i: number; readonly seed: string; readonly uniforms: readonly number[] }[];
}

const { seeds } = readVector<{ readonly seeds: readonly SeedCase[] }>('rollouts.json');
const MALFORMED = { name: 'SwarmError', code: 'MALFORMED' };

function partsOf(each: SeedCase) {
  return {
    recipeId: fromHex(each.recipe_id),
    policyRoot: fromHex(each.policy_root),
    peerId: fromHex(each.peer_id_bytes),
    slot: each.slot,
  };
}

describe('seeds', () => {
  it('come with cases', () => assert.ok(seeds.length > 0));

  for (const [n, each] of seeds.entries()) {
    it(`of case ${n} equal the reference's`, () => {
      const seed = groupSeed(partsOf(each));
      assert.equal(toHex(seed), each.group_seed);
      assert.equal(taskWord(seed), BigInt(each.task_u64));
      assert.equal(Number(taskWord(seed) % 1319n), each.task_of_1319);
      for (const { i, seed: expected, uniforms: values } of each.sequences) {
        const under = sequenceSeed(seed, i);
        assert.equal(toHex(under), expected);
        assert.deepEqual([...uniforms(under, values.length)], values);
        const stream = uniformStream(under);
        assert.deepEqual(
          values.map(() => stream.next()),
          values,
        );
      }
    });
  }

  it('of tasks and families are hashes under the group seed', () => {
    const seed = sha256('a group');
    assert.deepEqual(taskSeed(seed), sha256(seed, utf8('task')));
    const family = sha256(seed, utf8('family'));
    assert.equal(familyWord(seed), BigInt(`0x${toHex(family).slice(0, 16)}`));
  });

  it('refuse hashes of wrong length and slots that are no u32', () => {
    const parts = partsOf(seeds[0]!);
    assert.throws(() => groupSeed({ ...parts, slot: -1 }), MALFORMED);
    assert.throws(() => groupSeed({ ...parts, slot: 2 ** 32 }), MALFORMED);
    assert.throws(() => groupSeed({ ...parts, recipeId: new Uint8Array(31) }), MALFORMED);
    assert.throws(() => sequenceSeed(new Uint8Array(31), 0), MALFORMED);
  });
});

describe('uniforms', () => {
  const seed = sha256('uniforms');

  it('are the same one at a time as all at once, over many chunks', () => {
    const all = uniforms(seed, 1000);
    const stream = uniformStream(seed);
    for (const value of all) assert.equal(stream.next(), value);
  });

  it('are in [0, 1) and spread', () => {
    const all = uniforms(seed, 20_000);
    let sum = 0;
    for (const value of all) {
      assert.ok(value >= 0 && value < 1);
      sum += value;
    }
    // Standard error of the mean: 0.29 / √20 000 = 0.002.
    assert.ok(Math.abs(sum / all.length - 0.5) < 0.01);
  });
});
