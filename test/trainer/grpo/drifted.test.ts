// The brake on rollouts that the policy has left behind, worked by hand.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDrifted } from '../../../trainer/grpo/drifted.ts';

const rollout = (advantage: number, ...logprobs: readonly number[]) => ({
  advantage,
  logprobsWorker: Float32Array.from(logprobs),
});

test('a bad rollout is left out when its tokens lost more than the limit on average', () => {
  // Lost 1 and 2 nats: 1.5 on average.
  const now = Float32Array.of(-2, -3);
  assert.equal(isDrifted(rollout(-0.25, -1, -1), now, 1.25), true);
  assert.equal(isDrifted(rollout(-0.25, -1, -1), now, 1.5), false, 'up to the limit, the limit included');
  assert.equal(isDrifted(rollout(0.75, -1, -1), now, 1.25), false, 'good ones teach whatever they lost');
  assert.equal(isDrifted(rollout(-0.25, -3, -4), now, 0.1), false, 'likelier than before');
});
