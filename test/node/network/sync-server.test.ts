// What a sync page costs the one who answers: messages that are looked at and not sent count too. No network.

import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { NetworkInbox } from '../../../node/network/inbox.ts';
import type { StoredMessage } from '../../../node/network/inbox-store.ts';
import type { Handler, Requests } from '../../../node/network/streams.ts';
import { createSyncServer } from '../../../node/network/sync-server.ts';
import { fromHex, utf8 } from '../../../node/protocol/bytes.ts';
import type { MessageKind } from '../../../node/protocol/ports.ts';
import { decodeSyncAnswer, encodeSyncRequest, type SyncAnswer } from '../../../node/protocol/streams.ts';
import { type FakeClock, fakeClock } from '../../support/fake-clock.ts';
import { groupPayload, RECIPE } from './support.ts';

const FLOOR = 100;
const UNDER = groupPayload(0, RECIPE, FLOOR - 1);
const ABOVE = groupPayload(0, RECIPE, FLOOR);

describe('a page of a history that lies under the floor', () => {
  let stored: number;
  let floor: number;
  let looks: number;
  let clock: FakeClock;
  let answer: Handler;

  /** Groups under the floor, and one above it at the end. */
  async function* storedFrom(kind: MessageKind, _scope: string | null, from: number): AsyncGenerator<StoredMessage> {
    if (kind !== 'group') return;
    for (let arrival = from; arrival <= stored; arrival++) {
      looks++;
      const payload = arrival === stored ? ABOVE : UNDER;
      yield { message: { payload, envelope: payload } as StoredMessage['message'], arrival };
    }
  }

  beforeEach(async () => {
    stored = 40_000;
    floor = FLOOR;
    looks = 0;
    clock = fakeClock();
    const serve: Requests['serve'] = async (_protocol, handler) => {
      answer = handler;
    };
    const inbox = { followed: () => [RECIPE], storedFrom } as unknown as NetworkInbox;
    const requests = { serve } as unknown as Requests;
    await createSyncServer({ requests, inbox, clock }, { floorStep: () => floor }).start();
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

  /** Of one who leaves out the first of the groups, so that nothing more is known to lie under the floor. */
  const LEAVES_OUT = utf8('0.0.1.0.0');

  /** Statuses of pages, each going on where the one before ended. */
  async function statusesOf(peer: string, pages: number, from: Uint8Array): Promise<string[]> {
    const statuses: string[] = [];
    let cursor = from;
    for (let i = 0; i < pages; i++) {
      const { status, nextCursor } = await page(cursor, peer);
      statuses.push(status);
      if (status === 'ok') cursor = nextCursor;
    }
    return statuses;
  }

  it('is charged by what was looked at: who asks again and again is told to wait, others are answered', async () => {
    stored = 1_000_000;
    assert.deepEqual(await statusesOf('peer', 6, LEAVES_OUT), ['ok', 'ok', 'ok', 'ok', 'busy', 'busy']);
    assert.equal((await page(new Uint8Array(0), 'another')).status, 'ok');
    await clock.advance(1_000);
    assert.equal((await page(LEAVES_OUT)).status, 'ok');
  });

  it('is charged to all together too: many keys do not have more looked at than sixteen pages, and some later', async () => {
    stored = 1_000_000;
    for (let i = 0; i < 4; i++)
      assert.deepEqual(await statusesOf(`peer ${i}`, 4, LEAVES_OUT), ['ok', 'ok', 'ok', 'ok']);
    assert.equal((await page(new Uint8Array(0), 'another')).status, 'busy');
    looks = 0;
    await clock.advance(1_000);
    const pages = await Promise.all(Array.from({ length: 8 }, (_, i) => page(LEAVES_OUT, `new ${i}`)));
    assert.ok(looks > 0 && looks < 4_100, `${looks} were looked at`);
    // Twelve are left for sixteen that begin at once: none is told that there is no more.
    await clock.advance(3);
    pages.push(...(await Promise.all(Array.from({ length: 16 }, (_, i) => page(LEAVES_OUT, `newer ${i}`)))));
    for (const { status, nextCursor } of pages) assert.ok(status === 'ok' && nextCursor.length > 0);
  });

  it('is looked at once, at nobody’s cost: a late joiner gets what lies above at once, whoever comes later begins there', async () => {
    stored = 100_000;
    assert.deepEqual(await statusesOf('late joiner', 7, new Uint8Array(0)), new Array<string>(7).fill('ok'));
    looks = 0;
    assert.deepEqual((await page(new Uint8Array(0), 'another')).envelopes, [ABOVE]);
    assert.equal(looks, 1);
    looks = 0;
    floor = FLOOR + 1;
    assert.deepEqual((await page(new Uint8Array(0), 'a third')).envelopes, []);
    assert.equal(looks, 1);
    floor = FLOOR;
    looks = 0;
    await page(new Uint8Array(0), 'after the floor fell');
    assert.ok(looks > 1, 'looked at anew');
  });

  it('is not said to lie under the floor by a cursor that leaves some out', async () => {
    assert.deepEqual((await page(utf8(`0.0.${stored - 1}.0.0`))).envelopes, [ABOVE]);
    looks = 0;
    await page(new Uint8Array(0));
    assert.ok(looks > 1, 'what it left out is looked at');
  });

  it('ends at the first that does not lie under it', async () => {
    stored = 0;
    assert.deepEqual((await page(new Uint8Array(0))).envelopes, [ABOVE]);
    assert.deepEqual((await page(new Uint8Array(0), 'another')).envelopes, [ABOVE]);
  });
});
