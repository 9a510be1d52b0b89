// Liars as processes over loopback: a ring whose trainer verifies, an honest node, one with altered weights, and a process of
// liars (attacks/liar-process.ts). Every liar ends in quarantine, the honest node loses nothing, and training goes on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLiars } from '../support/liars.ts';
import { murmurLab } from '../support/murmur-process.ts';
import { startRing } from '../support/ring.ts';

const EXACT: Readonly<Record<string, string>> = { inflate: 'REWARD_MISMATCH', copy: 'PROMPT_MISMATCH' };

test('every liar among the processes is quarantined, no honest one is', { timeout: 120_000 }, async (t) => {
  const lab = await murmurLab(t);
  const { trainer, joined } = await startRing(lab);
  const honest = lab.start('honest', ['node', ...joined]);
  const altered = lab.start('altered', ['node', ...joined, '--alter-weights', '0.05']);
  const swarm = { dir: lab.dir, address: joined.at(-1)!, network: 'ring' };
  const liars = await startLiars(t, { ...swarm, lies: ['inflate', 'edit', 'copy'] });
  liars.set('altered', (await altered.event('listening')).peerId);
  for (const [lie, peerId] of liars) {
    await trainer.event('quarantined', (each) => each.peerId === peerId);
    const { code } = await trainer.event('rejected', (each) => each.peerId === peerId);
    if (EXACT[lie] !== undefined) assert.equal(code, EXACT[lie], lie);
    else assert.match(code, /^(REPLAY_MISMATCH|LOGPROB_DRIFT|TOPLOC_MISMATCH)$/, lie);
  }
  const { peerId } = await honest.event('listening');
  const { policyStep } = await trainer.event('step');
  await trainer.event('step', (step) => step.policyStep > policyStep);
  assert.deepEqual(
    trainer.events.filter(
      (each) => (each.event === 'rejected' || each.event === 'quarantined') && each.peerId === peerId,
    ),
    [],
  );
});
