// The heartbeat: an offer at once, then one every five minutes, also after one that could not be sent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256 } from '../../node/protocol/bytes.ts';
import { decodeOffer } from '../../node/protocol/offer.ts';
import { createOfferBeat } from '../../trainer/offer.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { memoryInbox } from '../support/memory-inbox.ts';
import { silentLogger as logger } from '../support/silent-logger.ts';

test('an offer every five minutes', async () => {
  const inbox = memoryInbox();
  const clock = fakeClock();
  const recipes: Uint8Array[] = [];
  const beat = createOfferBeat(
    { inbox, clock, logger },
    {
      offer: () => ({
        architectures: ['LlamaForCausalLM'],
        maxParameters: 1e9,
        trainingRecipeIds: recipes,
        accepts: 'author',
        initialPolicyRoots: [sha256('model')],
      }),
    },
  );
  await beat.start();
  await clock.advance(1);
  assert.equal(inbox.published.length, 1);
  recipes.push(sha256('recipe'));
  inbox.beforePublish = () => {
    throw new Error('no network');
  };
  await clock.advance(5 * 60_000);
  inbox.beforePublish = () => undefined;
  await clock.advance(5 * 60_000);
  assert.equal(inbox.published.length, 2);
  const offer = decodeOffer(inbox.published[1]!.payload);
  assert.deepEqual(offer.trainingRecipeIds.length, 1);
  assert.equal(offer.timeMs, clock.nowMs() - 1);
  await beat.stop();
});
