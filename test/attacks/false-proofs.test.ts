// A liar leaves proofs out, sends the null proof that stops the reference library, damages them, or copies them from elsewhere.
// Completions here are longer than a chunk, so that there are several proofs to play with.

import assert from 'node:assert/strict';
import type { GroupBody } from '../../node/protocol/body.ts';
import { proofBytes, TOP_K } from '../../verifier/toploc/proof.ts';
import { shippedTemplate } from '../support/recipe-sources.ts';
import { makeGroup, newPeer, testContext, testRecipe } from '../verifier/support/swarm.ts';
import { attack } from './support.ts';

/** Three proofs for every sequence: its end token is one that no sampler draws. */
const sampling = { ...(shippedTemplate('arrows')['sampling'] as object), maxNewTokens: 96, endTokens: [99] };
const LONG = testContext(testRecipe({}, { sampling }));
const PROOF_BYTES = proofBytes(TOP_K);

const eachProof =
  (change: (proofs: Uint8Array) => Uint8Array) =>
  (body: GroupBody): GroupBody => ({
    ...body,
    sequences: body.sequences.map((each) => ({ ...each, proofs: change(each.proofs) })),
  });

/** Writes a u16 into a copy. */
function withU16(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  new DataView(copy.buffer).setUint16(at, value);
  return copy;
}

interface Lie {
  readonly name: string;
  readonly change: (proofs: Uint8Array) => Uint8Array;
  readonly verdict: string;
}

const LIES: readonly Lie[] = [
  { name: 'no proofs', change: () => new Uint8Array(0), verdict: 'reject PROOF_COUNT' },
  { name: 'one too few', change: (proofs) => proofs.subarray(PROOF_BYTES), verdict: 'reject PROOF_COUNT' },
  { name: 'one cut short', change: (proofs) => proofs.subarray(2), verdict: 'reject PROOF_MALFORMED' },
  { name: 'the first alone', change: (proofs) => proofs.subarray(0, PROOF_BYTES), verdict: 'reject PROOF_COUNT' },
  {
    name: 'one too many',
    change: (proofs) => Buffer.concat([proofs, proofs.subarray(0, PROOF_BYTES)]),
    verdict: 'reject PROOF_COUNT',
  },
  { name: 'null proofs', change: (proofs) => new Uint8Array(proofs.length), verdict: 'reject PROOF_MALFORMED' },
  { name: 'a modulus of 32768', change: (proofs) => withU16(proofs, 0, 32_768), verdict: 'reject PROOF_MALFORMED' },
  { name: 'a modulus of 65498', change: (proofs) => withU16(proofs, 0, 65_498), verdict: 'reject PROOF_MALFORMED' },
  {
    name: 'a coefficient of 65497',
    change: (proofs) => withU16(proofs, 2 + 2 * 17, 65_497),
    verdict: 'reject PROOF_MALFORMED',
  },
  {
    name: 'chunks in another order',
    change: (proofs) =>
      Buffer.concat([
        proofs.subarray(PROOF_BYTES, 2 * PROOF_BYTES),
        proofs.subarray(0, PROOF_BYTES),
        proofs.subarray(2 * PROOF_BYTES),
      ]),
    verdict: 'reject TOPLOC_MISMATCH',
  },
  {
    name: 'the first proof for every chunk',
    change: (proofs) => {
      const first = proofs.subarray(0, PROOF_BYTES);
      return Buffer.concat([first, first, proofs.subarray(2 * PROOF_BYTES)]);
    },
    verdict: 'reject TOPLOC_MISMATCH',
  },
];

for (const { name, change, verdict } of LIES) {
  attack(
    name,
    async (scene) => {
      const group = scene.lie(0, { body: eachProof((proofs) => new Uint8Array(change(proofs))) });
      assert.deepEqual(await scene.judge(group), [verdict]);
      assert.equal(scene.isQuarantined(), verdict !== 'reject TOPLOC_MISMATCH', 'an exact check quarantines at once');
    },
    LONG,
  );
}

attack(
  "another peer's proofs",
  async (scene) => {
    const [other] = makeGroup(scene.context, newPeer(), 0).body.sequences;
    const group = scene.lie(0, { body: eachProof(() => other!.proofs) });
    assert.deepEqual(await scene.judge(group), ['reject TOPLOC_MISMATCH']);
  },
  LONG,
);

attack(
  'true proofs of several chunks are no lie',
  async (scene) => {
    const group = scene.lie(0, {});
    assert.ok(group.body.sequences.every(({ proofs }) => proofs.length === 3 * PROOF_BYTES));
    assert.deepEqual(await scene.judge(group), ['accept']);
  },
  LONG,
);
