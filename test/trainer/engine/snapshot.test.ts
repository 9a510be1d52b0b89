// Snapshots are the bytes of a bf16 file of the weights, and count what changed since the one before.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { policyRoot } from '../../../node/model/policy-root.ts';
import { writeSafetensors } from '../../../node/model/safetensors.ts';
import { createSnapshots } from '../../../trainer/engine/snapshot.ts';

test('a snapshot is the bf16 file of the weights, with its root and what changed', () => {
  // names against their byte order, an odd count of values before the second tensor
  const weights = new Map([
    ['z', { shape: [3], data: Float32Array.of(1, -2, 1 + 2 ** -9) }],
    ['a', { shape: [1, 3], data: Float32Array.of(0.5, 3, 7) }],
  ]);
  const snapshots = createSnapshots(() => Array.from(weights, ([name, tensor]) => ({ name, ...tensor })));
  const first = snapshots.take();
  assert.deepEqual([first.changedBits, first.changedShare], [0, 0]);

  const { data } = weights.get('a')!;
  data[0] = -0.5; // the sign alone
  data[1] = 3 + 2 ** -12; // rounds to what it was
  data[2] = 4; // 7 = 0x40e0, 4 = 0x4080
  const second = snapshots.take();
  assert.deepEqual(Buffer.from(second.safetensors), writeSafetensors(weights, 'BF16'));
  assert.deepEqual(second.policyRoot, policyRoot(weights));
  assert.deepEqual([second.changedBits, second.changedShare], [3, 2 / 6]);
  assert.deepEqual([snapshots.take().changedBits, first.safetensors.length], [0, second.safetensors.length]);
});
