// Which stream is closed when there are too many without a request. No network.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createIdleStreams } from '../../../node/network/idle-streams.ts';

describe('idle streams', () => {
  const closed: string[] = [];
  const stream = (name: string) => ({ abort: () => void closed.push(name) });

  it('of one peer are few: its oldest makes room for its newest', () => {
    const idle = createIdleStreams({ maxPerPeer: 2, max: 10 });
    for (const name of ['1', '2', '3', '4']) idle.enter('a', stream(name));
    assert.deepEqual(closed.splice(0), ['1', '2']);
  });

  it('of all are bounded: the oldest of the peer that holds most makes room', () => {
    const idle = createIdleStreams({ maxPerPeer: 3, max: 4 });
    idle.enter('honest', stream('honest'));
    for (const name of ['1', '2', '3']) idle.enter('liar', stream(name));
    idle.enter('another', stream('another'));
    assert.deepEqual(closed.splice(0), ['1']);
    idle.enter('a third', stream('a third'));
    assert.deepEqual(closed.splice(0), ['2']);
  });

  it('that got their request or ended are not counted', () => {
    const idle = createIdleStreams({ maxPerPeer: 1, max: 2 });
    for (let i = 0; i < 5; i++) {
      const it = stream(`${i}`);
      idle.enter('a', it);
      idle.leave('a', it);
      idle.leave('a', it);
    }
    assert.deepEqual(closed, []);
  });
});
