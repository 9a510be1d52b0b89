// The author's word as a command gives it: resolved from beginnings, signed only by the author, refused by code.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ContinuationRequest, type SaidContinuation, sayContinuation } from '../../../node/cli/continuation.ts';
import { sha256, toHex } from '../../../node/protocol/bytes.ts';
import { decodeContinuation } from '../../../node/protocol/continuation.ts';
import { createKeyPair, type KeyPair } from '../../../node/protocol/keys.ts';
import { encodeManifest } from '../../../node/protocol/manifest.ts';
import { resolveRecipe } from '../../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe } from '../../../recipes/schema.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { memoryInbox, signAs } from '../../support/memory-inbox.ts';
import { shippedSource } from '../../support/recipe-sources.ts';

const [AUTHOR, ONE, OTHER] = [createKeyPair(), createKeyPair(), createKeyPair()];
const keyOf = ({ publicKey }: KeyPair): string => toHex(publicKey);
const RESOLVED = resolveRecipe(
  parseRecipe(
    canonicalRecipe({
      ...shippedSource('arrows'),
      ...{ author: keyOf(AUTHOR), trainers: [keyOf(ONE), keyOf(OTHER)] },
    }),
  ),
);
const ROOTS = [sha256('one'), sha256('two')];
const NOTHING = sha256('nothing');

async function say(request: Partial<ContinuationRequest>, by = AUTHOR) {
  const inbox = memoryInbox(by);
  for (const [i, policyRoot] of ROOTS.entries()) {
    const blob = { hash: NOTHING, sizeBytes: 1 };
    const payload = encodeManifest({
      ...{ recipeId: RESOLVED.recipeId, policyStep: 4, policyRoot, parentRoot: NOTHING, timeMs: 1, record: null },
      full: { sizeBytes: 8, shardBytes: 8, shardHashes: [NOTHING] },
      admission: { wantGroups: 1, activePeers: 1 },
      ...{ closing: false, config: blob, tokenizer: blob, tokenizerConfig: blob },
    });
    await inbox.deliver(signAs([ONE, OTHER][i]!, 'manifest', payload), RESOLVED.recipeIdHex);
  }
  const known = { resolved: RESOLVED, author: AUTHOR.peerIdString, lastHeardMs: 0, closed: false };
  const said: Promise<SaidContinuation> = sayContinuation(
    {
      book: { find: (text) => (text === 'arrows' ? known : undefined) },
      ...{ inbox, clock: fakeClock(), ownKey: keyOf(by) },
    },
    { recipe: 'arrows', root: toHex(ROOTS[0]!), revoke: [], ...request },
  );
  return { said: await said, published: inbox.published };
}

test('the author names a policy by its beginning, and revokes a key', async () => {
  const [root] = ROOTS.map(toHex);
  const { said, published } = await say({ root: root!.slice(0, 12), revoke: [keyOf(OTHER).slice(0, 16)] });
  assert.deepEqual(said, {
    ...{ recipe: RESOLVED.recipe.name, policyStep: 4, policyRoot: root },
    ...{ trainer: keyOf(ONE), revoked: [keyOf(OTHER)] },
  });
  const [message] = published;
  assert.equal(message!.kind, 'continuation');
  const word = decodeContinuation(message!.payload);
  assert.deepEqual([word.policyStep, toHex(word.policyRoot), toHex(word.trainerKey)], [4, root, keyOf(ONE)]);
  assert.deepEqual(word.revokedKeys.map(toHex), [keyOf(OTHER)]);
});

test('what cannot be said is refused by code, and nothing is published', async () => {
  await assert.rejects(say({ recipe: 'unknown' }), { code: 'RECIPE_NOT_FOUND' });
  await assert.rejects(say({}, createKeyPair()), { code: 'USAGE', message: /only its author/ });
  await assert.rejects(say({ root: 'ffff' }), { code: 'NOT_FOUND' });
  await assert.rejects(say({ root: '' }), { code: 'USAGE', message: /2 begin/ });
  await assert.rejects(say({ revoke: ['00'.repeat(32)] }), { code: 'NOT_FOUND' });
  await assert.rejects(say({ revoke: [keyOf(ONE)] }), { code: 'USAGE' });
});
