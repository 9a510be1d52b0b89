// Liars as processes over loopback: a ring whose trainer verifies, an honest node, one with altered weights, and a process of
// liars (attacks/liar-process.ts). Every liar ends in quarantine, the honest node loses nothing, and training goes on.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { murmurLab } from '../support/murmur-process.ts';
import { startRing } from '../support/ring.ts';
import type { Ending } from '../support/temp-dir.ts';

const LIAR_PROCESS = fileURLToPath(new URL('../attacks/liar-process.ts', import.meta.url));
const EXACT: Readonly<Record<string, string>> = { inflate: 'REWARD_MISMATCH', copy: 'PROMPT_MISMATCH' };

/** Starts the process of liars. @returns peer ids by lie, once all of them work */
async function startLiars(t: Ending, dir: string, address: string): Promise<ReadonlyMap<string, string>> {
  const child = spawn(process.execPath, [LIAR_PROCESS, dir, address, 'ring'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const peers = new Map<string, string>();
  for await (const line of createInterface({ input: child.stdout })) {
    const { lie, peerId } = JSON.parse(line) as { readonly lie: string; readonly peerId: string };
    peers.set(lie, peerId);
    if (peers.size === 3) return peers;
  }
  throw new Error('the process of liars ended');
}

test('every liar among the processes is quarantined, no honest one is', { timeout: 120_000 }, async (t) => {
  const lab = await murmurLab(t);
  const { trainer, joined } = await startRing(lab);
  const honest = lab.start('honest', ['node', ...joined]);
  const altered = lab.start('altered', ['node', ...joined, '--alter-weights', '0.05']);
  const liars = new Map(await startLiars(t, lab.dir, joined.at(-1)!));
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
