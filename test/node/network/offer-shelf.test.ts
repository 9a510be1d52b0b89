// The shelf of offers: of each trainer the newest, bounded in number and in time, and on disk nothing else.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createOfferShelf, MAX_OFFERS, OFFER_MAX_AGE_MS } from '../../../node/network/offer-shelf.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import { encodeOffer } from '../../../node/protocol/offer.ts';
import type { PeerIdString, SignedMessage } from '../../../node/protocol/ports.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { signAs } from '../../support/memory-inbox.ts';
import { silentLogger as logger } from '../../support/silent-logger.ts';

function payload(timeMs: number): Uint8Array {
  const nothing = { architectures: [], maxParameters: 1, trainingRecipeIds: [], initialPolicyRoots: [] };
  return encodeOffer({ ...nothing, timeMs, accepts: 'all' });
}

const ONE = signAs(createKeyPair(), 'offer', payload(0));

/** Signatures are no matter here, and take their time. */
function offer(by: string, timeMs: number): SignedMessage {
  return { ...ONE, peerIdString: by as PeerIdString, payload: payload(timeMs), idHex: `${timeMs}` };
}

function shelfOn(disk: SignedMessage[] = [], clock = fakeClock()) {
  let reads = 0;
  const store = {
    async *read() {
      reads++;
      for (const [arrival, message] of [...disk].entries()) yield { message, arrival };
    },
    async delete(message: SignedMessage) {
      disk.splice(disk.indexOf(message), 1);
    },
  };
  const shelf = createOfferShelf({ store, clock, logger });
  return {
    ...{ disk, clock, shelf, reads: () => reads },
    async hear(by: string, timeMs = clock.nowMs()) {
      const message = offer(by, timeMs);
      disk.push(message);
      await shelf.put(message);
    },
    kept: () => disk.map(({ peerIdString }) => peerIdString as string),
  };
}

it('keeps so many offers, those heard of last, and reads the store for none of them', async () => {
  const { clock, hear, kept, reads } = shelfOn();
  for (const trainer of ['first', 'second']) await hear(trainer);
  for (let i = 2; i < MAX_OFFERS; i++) await hear(`crowd ${i}`);
  await clock.advance(1);
  await hear('first');
  await hear('one more');
  assert.equal(kept().length, MAX_OFFERS);
  assert.deepEqual([kept().includes('first'), kept().includes('second')], [true, false]);
  assert.equal(reads(), 0);
});

it('lets go of what was not repeated, also of an earlier run', async () => {
  const { disk, clock, hear, kept } = shelfOn();
  await hear('gone');
  await clock.advance(OFFER_MAX_AGE_MS / 2);
  await hear('stays');
  await clock.advance(OFFER_MAX_AGE_MS / 2);
  await hear('new');
  assert.deepEqual(kept(), ['stays', 'new']);
  await clock.advance(OFFER_MAX_AGE_MS);
  const again = shelfOn(disk, clock);
  await again.hear('comes before the store was read');
  await again.shelf.open();
  assert.deepEqual(again.kept(), ['comes before the store was read']);
});

it('keeps of each trainer the newest, also of what an earlier run stored, in whatever order', async () => {
  const clock = fakeClock();
  const nowMs = clock.nowMs();
  const again = shelfOn(
    [1, 3, 2].map((age) => offer('trainer', nowMs - age)),
    clock,
  );
  await again.shelf.open();
  assert.deepEqual(
    again.disk.map(({ idHex }) => idHex),
    [`${nowMs - 1}`],
  );
  await again.hear('trainer', nowMs - 2);
  await again.hear('trainer', nowMs);
  assert.deepEqual(
    again.disk.map(({ idHex }) => idHex),
    [`${nowMs}`],
  );
});
