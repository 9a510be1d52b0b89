// A liar leaves proofs out, sends the null proof that stops the reference library, or copies them from elsewhere.

import assert from 'node:assert/strict';
import type { GroupBody } from '../../node/protocol/body.ts';
import { makeGroup, newPeer } from '../verifier/support/swarm.ts';
import { attack } from './support.ts';

const eachProof = (change: (proofs: Uint8Array, i: number) => Uint8Array) => (body: GroupBody) => ({
  ...body,
  sequences: body.sequences.map((sequence, i) => ({ ...sequence, proofs: change(sequence.proofs, i) })),
});

attack('no proofs', async (scene) => {
  const group = scene.lie(0, { body: eachProof(() => new Uint8Array(0)) });
  assert.deepEqual(await scene.judge(group), ['reject PROOF_COUNT']);
});

attack('null proofs', async (scene) => {
  const group = scene.lie(0, { body: eachProof((proofs) => new Uint8Array(proofs.length)) });
  assert.deepEqual(await scene.judge(group), ['reject PROOF_MALFORMED']);
});

attack("another peer's proofs", async (scene) => {
  const other = makeGroup(scene.context, newPeer(), 0).body.sequences.map(({ proofs }) => proofs);
  const longest = other.reduce((best, each) => (each.length > best.length ? each : best));
  const group = scene.lie(0, { body: eachProof((proofs) => (proofs.length === longest.length ? longest : proofs)) });
  const changed = group.body.sequences.some(({ proofs }) => proofs === longest);
  assert.ok(changed, 'the attack took place');
  assert.deepEqual(await scene.judge(group), ['reject TOPLOC_MISMATCH']);
});
