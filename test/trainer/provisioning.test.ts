// The provisioning check on made-up steps: enough or not, fresh or not, said once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StepMetrics } from '../../trainer/metrics.ts';
import { createProvisioning, type Provision } from '../../trainer/provisioning.ts';

/** Six steps of 8 groups, 2 s of work each; the first one waits long. */
function afterSteps(waiting: number, stale: number): readonly (Provision | null)[] {
  const provisioning = createProvisioning({ promptsPerStep: 16 });
  return Array.from({ length: 8 }, (_, i) =>
    provisioning.look({
      groups: 8,
      seconds: { waiting: i === 0 ? 100 : waiting, replaying: 0.5, updating: 1, checkpointing: 0.25, publishing: 0.25 },
      counts: { trained: 8 * (i + 1), rejected: 0, stale, dropped: 12, pending: 3 },
    } as StepMetrics),
  );
}

test('a trainer that waits most of its time lacks nodes; it is said once, after the sixth step', () => {
  const said = afterSteps(6, 0);
  assert.deepEqual(
    said.map((each) => each !== null),
    [false, false, false, false, false, true, false, false],
  );
  // 8 groups in 8 s came; 16 in 2 s could be learned from.
  assert.deepEqual(said[5], { brought: 1, wanted: 8, isEnough: false, staleShare: 0, isFresh: true });
});

test('a trainer that hardly waits has enough; many stale groups say that the bound is too tight', () => {
  const provision = afterSteps(0.5, 20)[5]!;
  assert.equal(provision.isEnough, true);
  // 48 trained and 12 dropped beside 20 stale.
  assert.deepEqual([provision.staleShare, provision.isFresh], [0.25, false]);
});
