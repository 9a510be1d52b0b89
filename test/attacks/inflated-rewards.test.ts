// A liar claims more reward than its completions earn. Rewards are recomputed, so one look is enough.

import assert from 'node:assert/strict';
import { attack } from './support.ts';

attack('inflated rewards: quarantined at once, its other groups dropped', async (scene) => {
  const honestFirst = scene.lie(0, {});
  const inflated = scene.lie(1, {
    announcement: (each) => ({ ...each, rewards: each.rewards.map(() => 1_000_001) }),
  });
  const waiting = scene.lie(2, {});
  await scene.announce(waiting);
  assert.deepEqual(await scene.judge(honestFirst), ['accept']);
  assert.deepEqual(await scene.judge(inflated), ['reject REWARD_MISMATCH']);
  assert.ok(scene.isQuarantined());
  assert.equal(scene.verdictOn(waiting), 'ignore QUARANTINED');
  // What was accepted but perhaps not consumed is taken back.
  assert.equal(scene.verdictOn(honestFirst), 'ignore QUARANTINED');
  const { accepted, rejected, ignored } = scene.verifier.stats();
  assert.deepEqual([accepted, rejected, ignored], [1, { REWARD_MISMATCH: 1 }, { QUARANTINED: 1 }]);
});
