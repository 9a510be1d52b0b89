// Who shares the next replay: turns, newcomers' half, limits.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pickBatch } from '../../verifier/batch.ts';
import { type Job, jobOf } from '../../verifier/job.ts';
import { GROUP_SIZE, makeGroup, newPeer, testContext } from './support/swarm.ts';

const context = testContext();

/** Queued jobs of one peer, one sequence of each due unless whole. */
function jobs(count: number, isWhole = false): Job[] {
  const peer = newPeer();
  return Array.from({ length: count }, (_, slot) => {
    const { message, body } = makeGroup(context, peer, slot);
    return Object.assign(jobOf(message, slot, 0), { state: 'queued' as const, body, isWhole });
  });
}

const noNewcomers = (): boolean => false;
const slotsOf = (batch: readonly Job[], peer: string): number[] =>
  batch.filter((job) => job.peer === peer).map((job) => job.announcement.slot);

test('peers take turns, each in the order of its slots', () => {
  const [a, b] = [jobs(6), jobs(2)];
  const batch = pickBatch([...a, ...b], noNewcomers, { maxTokens: 1e6, maxSequences: 4 });
  assert.deepEqual(
    [slotsOf(batch, a[0]!.peer), slotsOf(batch, b[0]!.peer)],
    [
      [0, 1],
      [0, 1],
    ],
  );
});

test('newcomers get half while others wait, and all when nobody does', () => {
  const [old, fresh] = [jobs(8), jobs(8)];
  const isNewcomer = (peer: string): boolean => peer === fresh[0]!.peer;
  const limits = { maxTokens: 1e6, maxSequences: 8 };
  const mixed = pickBatch([...fresh, ...old], isNewcomer, limits);
  assert.deepEqual([slotsOf(mixed, fresh[0]!.peer).length, slotsOf(mixed, old[0]!.peer).length], [4, 4]);
  assert.equal(pickBatch(fresh, isNewcomer, limits).length, 8);
  const fewFresh = pickBatch([...fresh.slice(0, 1), ...old], isNewcomer, limits);
  assert.equal(slotsOf(fewFresh, old[0]!.peer).length, 7, 'what newcomers leave is for the others');
});

test('a group larger than every limit still goes, alone', () => {
  const whole = jobs(2, true);
  const batch = pickBatch(whole, noNewcomers, { maxTokens: 1, maxSequences: 1 });
  assert.deepEqual(batch, [whole[0]]);
  assert.deepEqual(pickBatch([], noNewcomers), []);
  assert.equal(pickBatch(whole, noNewcomers, { maxTokens: 1e6, maxSequences: GROUP_SIZE }).length, 1);
});
