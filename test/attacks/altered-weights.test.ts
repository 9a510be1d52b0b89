// A liar generates with other weights than it names. Careless: it also claims what they gave. Forged: it spends one prefill of
// the true policy on true log-probs and proofs, and only the draws betray it.

import assert from 'node:assert/strict';
import { scriptedPolicy } from '../verifier/support/scripted-policy.ts';
import { rootOf } from '../verifier/support/swarm.ts';
import { attack, forge } from './support.ts';

const altered = scriptedPolicy('altered weights');

attack('altered weights: caught at the first group, quarantined at the second, the rest dropped', async (scene) => {
  const groups = [0, 1, 2, 3].map((slot) => scene.lie(slot, { policy: altered }));
  const [first, second, third] = await scene.judge(...groups);
  assert.match(first!, /^reject (REPLAY_MISMATCH|LOGPROB_DRIFT)$/);
  assert.match(second!, /^reject (REPLAY_MISMATCH|LOGPROB_DRIFT)$/);
  assert.ok(scene.isQuarantined());
  assert.equal(third, null, 'what comes after does not pass stage 0');
  assert.equal(scene.inbox.ignoredCounts()['QUARANTINED'], 2);
  assert.equal(scene.verifier.stats().peers.find(({ peer }) => peer === scene.liar.peerIdString)!.rejectedGroups, 2);
});

attack('altered weights, forged: true log-probs and proofs on wrong draws', async (scene) => {
  const groups = [0, 1].map((slot) => scene.lie(slot, { policy: altered, body: forge(scene.context) }));
  assert.deepEqual(await scene.judge(...groups), ['reject REPLAY_MISMATCH', 'reject REPLAY_MISMATCH']);
  assert.ok(scene.isQuarantined());
});

attack('weights of another step under the newest root', async (scene) => {
  const group = scene.lie(0, { policy: scriptedPolicy(rootOf(1)) });
  assert.match((await scene.judge(group))[0]!, /^reject (REPLAY_MISMATCH|LOGPROB_DRIFT)$/);
});
