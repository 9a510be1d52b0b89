// Whom sync asks, when, and for how long: a peer that answers late, or for ever, holds up nobody. No network, a clock of our own.

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Host } from '../../../node/network/host.ts';
import type { NetworkInbox } from '../../../node/network/inbox.ts';
import type { AskOptions, Requests } from '../../../node/network/streams.ts';
import { createSync, type Sync } from '../../../node/network/sync.ts';
import { fromUtf8, utf8 } from '../../../node/protocol/bytes.ts';
import { SwarmError } from '../../../node/protocol/errors.ts';
import type { PeerIdString } from '../../../node/protocol/ports.ts';
import { decodeSyncRequest, encodeSyncAnswer } from '../../../node/protocol/streams.ts';
import { type FakeClock, fakeClock } from '../../support/fake-clock.ts';
import { createTestLogger, RECIPE } from './support.ts';

const NEVER_MS = 2 ** 40;

/** How a peer answers: after how long, and the cursor that it gives for one. Pages are empty. */
interface Manner {
  readonly delayMs: number;
  readonly next: (cursor: string) => string;
}

/** Says each time that there is more. */
const ENDLESS = (cursor: string): string => `${Number(cursor) + 1}`;
const PROMPT: Manner = { delayMs: 0, next: () => '' };

interface Scene {
  readonly sync: Sync;
  readonly clock: FakeClock;
  /** the cursors that a peer was asked with, of the network's messages */
  asked(peer: PeerIdString): readonly string[];
}

async function scene(t: TestContext, manners: Readonly<Record<string, Manner>>, intervalMs: number): Promise<Scene> {
  const clock = fakeClock();
  const asked = new Map<PeerIdString, string[]>();
  const ask = async (peer: PeerIdString, _protocol: string, bytes: Uint8Array, options: AskOptions) => {
    const { recipeId, cursor } = decodeSyncRequest(bytes);
    const { delayMs, next } = manners[peer]!;
    const what = options.timeoutMs > 0 ? fromUtf8(cursor) : 'asked without time for an answer';
    if (recipeId === null || options.timeoutMs <= 0) asked.set(peer, [...(asked.get(peer) ?? []), what]);
    await clock.sleep(Math.min(delayMs, options.timeoutMs), options.signal);
    if (delayMs > options.timeoutMs) throw new SwarmError('REQUEST_TIMEOUT', 'no answer in time');
    return encodeSyncAnswer({ status: 'ok', envelopes: [], nextCursor: utf8(next(fromUtf8(cursor))) });
  };
  const host = { peers: { connected: () => Object.keys(manners) }, onEvent: () => () => undefined };
  const inbox = { followed: () => [RECIPE], onFollow: () => () => undefined, parkedCount: () => 0 };
  const sync = createSync(
    {
      host: host as unknown as Host,
      requests: { ask } as unknown as Requests,
      inbox: inbox as unknown as NetworkInbox,
      clock,
      logger: createTestLogger(),
    },
    { intervalMs },
  );
  t.after(() => sync.stop());
  return { sync, clock, asked: (peer) => asked.get(peer) ?? [] };
}

describe('turns of sync', { timeout: 20_000 }, () => {
  it('of one peer do not wait for another, which answers late', async (t) => {
    const { sync, clock, asked } = await scene(
      t,
      { late: { delayMs: 29_000, next: ENDLESS }, prompt: PROMPT },
      NEVER_MS,
    );
    await sync.start();
    await clock.advance(1_000);
    assert.deepEqual([asked('late').length, asked('prompt').length], [1, 1]);
  });

  it('end when the peer was waited for long enough, and the next goes on where they ended', async (t) => {
    const { sync, clock, asked } = await scene(t, { late: { delayMs: 25_000, next: ENDLESS } }, NEVER_MS);
    let isOver = false;
    const turn = sync.ask('late').then(() => {
      isOver = true;
    });
    await clock.advance(61_000);
    assert.equal(isOver, true);
    await turn;
    assert.deepEqual(asked('late'), ['', '1', '2']);
    void sync.ask('late');
    await clock.advance(1_000);
    assert.equal(asked('late').at(-1), '2');
  });

  it('end at a page that leads nowhere', async (t) => {
    const { sync, asked } = await scene(t, { circling: { delayMs: 0, next: () => '7' } }, NEVER_MS);
    await sync.ask('circling');
    assert.deepEqual(asked('circling'), ['', '7']);
  });

  it('go on after an empty page that leads on, and end at the last page of many', async (t) => {
    const { sync, asked } = await scene(t, { old: { delayMs: 0, next: ENDLESS } }, NEVER_MS);
    await sync.ask('old');
    assert.equal(asked('old').length, 64);
  });

  it('are given to others while one peer is waited for', async (t) => {
    const { sync, clock, asked } = await scene(t, { late: { delayMs: 29_000, next: ENDLESS }, prompt: PROMPT }, 1_000);
    await sync.start();
    await clock.advance(30_000);
    assert.ok(asked('prompt').length >= 30, `${asked('prompt').length}`);
  });
});
