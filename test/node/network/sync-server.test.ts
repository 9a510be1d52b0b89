// What a sync page costs the one who answers: messages that are looked at and not sent count too. No network.

import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { NetworkInbox } from '../../../node/network/inbox.ts';
import type { StoredMessage } from '../../../node/network/inbox-store.ts';
import type { Handler, Requests } from '../../../node/network/streams.ts';
import { createSyncServer } from '../../../node/network/sync-server.ts';
import { fromHex } from '../../../node/protocol/bytes.ts';
import type { MessageKind } from '../../../node/protocol/ports.ts';
import { decodeSyncAnswer, encodeSyncRequest, type SyncAnswer } from '../../../node/protocol/streams.ts';
import { type FakeClock, fakeClock } from '../../support/fake-clock.ts';
import { groupPayload, RECIPE } from './support.ts';

const STORED = 40_000;
const FLOOR = 100;
const UNDER = groupPayload(0, RECIPE, FLOOR - 1);
const ABOVE = groupPayload(0, RECIPE, FLOOR);

describe('a page of a history that lies under the floor', () => {
  let looks: number;
  let clock: FakeClock;
  let answer: Handler;

  /** Groups under the floor, and one above it at the end. */
  async function* storedFrom(kind: MessageKind, _scope: string | null, from: number): AsyncGenerator<StoredMessage> {
    if (kind !== 'group') return;
    for (let arrival = from; arrival <= STORED; arrival++) {
      looks++;
      const payload = arrival === STORED ? ABOVE : UNDER;
      yield { message: { payload, envelope: payload } as StoredMessage['message'], arrival };
    }
  }

  beforeEach(async () => {
    looks = 0;
    clock = fakeClock();
    const serve: Requests['serve'] = async (_protocol, handler) => {
      answer = handler;
    };
    const inbox = { followed: () => [RECIPE], storedFrom } as unknown as NetworkInbox;
    const requests = { serve } as unknown as Requests;
    await createSyncServer({ requests, inbox, clock }, { floorStep: () => FLOOR }).start();
  });

  async function page(cursor: Uint8Array, peer = 'peer', signal = new AbortController().signal): Promise<SyncAnswer> {
    return decodeSyncAnswer(await answer(encodeSyncRequest({ recipeId: fromHex(RECIPE, 32), cursor }), peer, signal));
  }

  it('ends after 16 384 looks and says where to go on; whoever does comes to the end', async () => {
    const { envelopes, nextCursor } = await page(new Uint8Array(0));
    assert.ok(looks <= 16_385, `${looks} were looked at`);
    assert.equal(envelopes.length, 0);
    const got: Uint8Array[] = [];
    let pages = 1;
    for (let cursor = nextCursor; cursor.length > 0; pages++) {
      const next = await page(cursor);
      got.push(...next.envelopes);
      cursor = next.nextCursor;
    }
    assert.deepEqual(got, [ABOVE]);
    assert.equal(pages, 4);
  });

  it('is not read on once the answer would come too late', async () => {
    const late = new AbortController();
    late.abort(new Error('too late'));
    await assert.rejects(page(new Uint8Array(0), 'peer', late.signal), { message: 'too late' });
    assert.ok(looks <= 1, `${looks} were looked at`);
  });

  it('is charged by what was looked at: who asks again and again is told to wait, others are answered', async () => {
    const statuses: string[] = [];
    for (let i = 0; i < 8; i++) statuses.push((await page(new Uint8Array(0))).status);
    assert.deepEqual(statuses, [...new Array<string>(4).fill('ok'), ...new Array<string>(4).fill('busy')]);
    assert.equal((await page(new Uint8Array(0), 'another')).status, 'ok');
    await clock.advance(1_000);
    assert.equal((await page(new Uint8Array(0))).status, 'ok');
  });
});
