// Who is known by what the recipe's verifiers said: nobody else is asked, and a crowd of peers takes bounded room.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256, toHex } from '../../node/protocol/bytes.ts';
import type { CheckCode } from '../../node/protocol/check.ts';
import { createKeyPair, type KeyPair, peerIdOfPublicKey, peerIdStringOf } from '../../node/protocol/keys.ts';
import type { SignedMessage } from '../../node/protocol/ports.ts';
import { encodeVerdict } from '../../node/protocol/verdict.ts';
import { createAcceptedPeers, MAX_KEPT } from '../../verifier/accepted-peers.ts';
import { limitsOf } from '../../verifier/checks/subject.ts';
import { TRUST_HALF_LIFE_STEPS } from '../../verifier/standing.ts';
import { signAs } from '../support/memory-inbox.ts';
import { testRecipe } from './support/swarm.ts';

const named = createKeyPair();
const recipe = testRecipe({ verifiers: [toHex(named.publicKey)], probationGroups: 2 });
const limits = limitsOf(recipe);
const TEMPLATE = signAs(named, 'verdict', payloadOf(peerIdOf('nobody'), 0, 0, null));

function peerIdOf(name: string): Uint8Array {
  return peerIdOfPublicKey(sha256(name));
}

function payloadOf(peerId: Uint8Array, policyStep: number, slot: number, code: CheckCode | null): Uint8Array {
  return encodeVerdict({
    ...{
      recipeId: recipe.recipeId,
      policyStep,
      groupId: sha256(`${toHex(peerId)} ${policyStep} ${slot}`),
      peerId,
      slot,
    },
    ...{ answer: code === null ? 'accept' : code === 'NOT_CHECKED' ? 'ignore' : 'reject', code },
    ...{ limits, secretHash: sha256('secret'), sequencesReplayed: 1 },
  });
}

/** A verdict, its signature left out. */
function verdict(
  name: string,
  slot: number,
  step = 0,
  code: CheckCode | null = null,
  by: KeyPair = named,
): SignedMessage {
  return { ...TEMPLATE, publicKey: by.publicKey, payload: payloadOf(peerIdOf(name), step, slot, code) };
}

const idOf = (name: string): string => peerIdStringOf(peerIdOf(name));

test('as many groups as probation takes, each once, by a key that the recipe names', () => {
  const peers = createAcceptedPeers(recipe.recipe);
  const stranger = createKeyPair();
  for (let slot = 0; slot < 8; slot++) peers.hear(verdict('a', slot, 0, null, stranger));
  assert.equal(peers.isKnown(idOf('a')), false, 'anybody may say anything');
  peers.hear(verdict('a', 0));
  peers.hear(verdict('a', 0));
  peers.hear(verdict('a', 1, 0, 'NOT_CHECKED'));
  assert.equal(peers.isKnown(idOf('a')), false, 'one group');
  peers.hear(verdict('a', 2));
  assert.deepEqual([peers.isKnown(idOf('a')), peers.isKnown(idOf('b'))], [true, false]);
  peers.hear(verdict('a', 3, 0, 'REWARD_MISMATCH', stranger));
  assert.equal(peers.isKnown(idOf('a')), true);
  peers.hear(verdict('a', 3, 0, 'REWARD_MISMATCH'));
  peers.hear(verdict('a', 4));
  assert.equal(peers.isKnown(idOf('a')), false, 'from the beginning');
});

test('who was away for long is a stranger; of more peers than there is room for the one accepted longest ago leaves', () => {
  const peers = createAcceptedPeers(recipe.recipe);
  for (const slot of [0, 1]) for (const name of ['old', 'busy']) peers.hear(verdict(name, slot));
  for (let i = 0; i < MAX_KEPT - 2; i++) peers.hear(verdict(`${i}`, 0));
  peers.hear(verdict('busy', 0, 1));
  assert.deepEqual(
    ['old', 'busy'].map((name) => peers.isKnown(idOf(name))),
    [true, true],
  );
  peers.hear(verdict('one more', 0));
  assert.deepEqual(
    ['old', 'busy'].map((name) => peers.isKnown(idOf(name))),
    [false, true],
  );
  peers.hear(verdict('late', 0, TRUST_HALF_LIFE_STEPS));
  assert.equal(peers.isKnown(idOf('busy')), true);
  peers.hear(verdict('late', 0, TRUST_HALF_LIFE_STEPS + 1));
  assert.equal(peers.isKnown(idOf('busy')), false);
});
