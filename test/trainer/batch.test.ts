// Which groups make a batch: an order by hash, shares of keys, parts, and how many are asked for.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { admissionOf, createUsefulShare } from '../../trainer/admission.ts';
import { type Candidate, chooseBatch, inBatchOrder } from '../../trainer/batch.ts';

const ROOT = toHex(sha256('root'));

function candidates(count: number, keys: number): Candidate[] {
  return Array.from({ length: count }, (_, i) => ({
    groupId: toHex(sha256(`group ${i}`)),
    peer: `peer ${i % keys}`,
    policyStep: 0,
    groupSeed: sha256(`seed ${i}`),
  }));
}

const rule = { count: 16, batchSize: 16, policyRoot: ROOT, maxKeyShare: 1 / 8 };

test('groups are in order of H(policyRoot ‖ group seed)', () => {
  const groups = candidates(20, 5);
  const byHand = [...groups].sort((a, b) =>
    Buffer.compare(sha256(Buffer.from(ROOT, 'hex'), a.groupSeed), sha256(Buffer.from(ROOT, 'hex'), b.groupSeed)),
  );
  assert.deepEqual(inBatchOrder(groups, ROOT), byHand);
  assert.notDeepEqual(inBatchOrder(groups, toHex(sha256('another root'))), byHand);
});

test('the choice is the same whatever the order of arrival', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(candidates(40, 10), { minLength: 40 }), (shuffled) => {
      assert.deepEqual(chooseBatch(shuffled, rule), chooseBatch(candidates(40, 10), rule));
    }),
    { numRuns: 30 },
  );
});

test('with 8 keys or more none fills over an eighth of a batch while others wait', () => {
  const many = [
    ...candidates(64, 8),
    ...candidates(200, 1)
      .slice(64)
      .map((each) => ({ ...each, peer: 'greedy' })),
  ];
  const chosen = chooseBatch(many, rule);
  assert.equal(chosen.length, 16);
  const ofGreedy = chosen.filter(({ peer }) => peer === 'greedy').length;
  assert.equal(ofGreedy, 2);
  const more = chooseBatch(many, { ...rule, taken: new Map([['greedy', 2]]) });
  assert.equal(more.filter(({ peer }) => peer === 'greedy').length, 0, 'what the batch has already counts');
});

test('when nobody else waits the share does not hold; with fewer keys neither', () => {
  const scarce = [
    ...candidates(7, 7),
    ...candidates(200, 1)
      .slice(100, 130)
      .map((each) => ({ ...each, peer: 'greedy' })),
  ];
  const chosen = chooseBatch(scarce, rule);
  assert.equal(chosen.length, 16);
  assert.equal(chosen.filter(({ peer }) => peer === 'greedy').length, 9);
  const two = chooseBatch(candidates(40, 2), rule);
  assert.deepEqual(two, inBatchOrder(candidates(40, 2), ROOT).slice(0, 16));
});

test('wantGroups = ceil((maxLag + 1)·B / useful share) − waiting', () => {
  const state = { maxLagSteps: 4, promptsPerStep: 16, usefulShare: 0.75, waiting: () => 20, activePeers: 3 };
  // (4 + 1)·16 / 0.75 = 106.7
  assert.deepEqual(admissionOf(state), { wantGroups: 87, activePeers: 3 });
  assert.equal(admissionOf({ ...state, waiting: () => 500 }).wantGroups, 0);
  // Nobody known: one batch, ceil(16 / 0.75), which each newcomer may take whole.
  assert.deepEqual(admissionOf({ ...state, activePeers: 0 }), { wantGroups: 22, activePeers: 0 });
});

test('the useful share follows the last 256 groups and never falls under 0.1', () => {
  const share = createUsefulShare();
  assert.equal(share.value(), 1);
  share.add(false);
  assert.equal(share.value(), 0.5);
  for (let i = 0; i < 500; i++) share.add(false);
  assert.equal(share.value(), 0.1);
  for (let i = 0; i < 256; i++) share.add(true);
  assert.equal(share.value(), 1);
});
