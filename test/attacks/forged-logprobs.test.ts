// A liar claims log-probs that no policy has, or that another has: to blow up an importance ratio, or to hide one.

import assert from 'node:assert/strict';
import { withSequence } from '../verifier/support/swarm.ts';
import { attack } from './support.ts';

for (const claimed of [Number.NaN, -1e30, Number.POSITIVE_INFINITY, 1]) {
  attack(`a log-prob of ${claimed}: refused without a model`, async (scene) => {
    const group = scene.lie(0, {
      body: withSequence(0, (each) => ({ ...each, logprobs: each.logprobs.with(0, claimed) })),
    });
    assert.deepEqual(await scene.judge(group), ['reject LOGPROB_INVALID']);
    assert.ok(scene.isQuarantined());
    assert.equal(scene.engine.replays.length, 0);
  });
}

attack('log-probs a little too low, all of them', async (scene) => {
  const lower = withSequence(1, (each) => ({ ...each, logprobs: each.logprobs.map((value) => value - 0.01) }));
  assert.deepEqual(await scene.judge(scene.lie(0, { body: lower })), ['reject LOGPROB_DRIFT']);
  const evidence = scene.verdictsOn(scene.lie(0, { body: lower }))[0]!.evidence!;
  assert.equal(evidence.sequence, 1);
  assert.ok(Math.abs(evidence.measured! - 0.01) < 1e-4);
});
