// Which stream is aborted when too many wait for their peer. No network.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createHeldStreams } from '../../../node/network/held-streams.ts';

describe('held streams', () => {
  const closed: string[] = [];
  const stream = (name: string) => ({ abort: () => void closed.push(name) });

  it('of one peer are few: its oldest makes room for its newest', () => {
    const held = createHeldStreams({ maxPerPeer: 2, max: 10 });
    for (const name of ['1', '2', '3', '4']) held.enter('a', stream(name));
    assert.deepEqual(closed.splice(0), ['1', '2']);
  });

  it('of all are bounded: the oldest of the peer that holds most makes room', () => {
    const held = createHeldStreams({ maxPerPeer: 3, max: 4 });
    held.enter('honest', stream('honest'));
    for (const name of ['1', '2', '3']) held.enter('liar', stream(name));
    held.enter('another', stream('another'));
    assert.deepEqual(closed.splice(0), ['1']);
    held.enter('a third', stream('a third'));
    assert.deepEqual(closed.splice(0), ['2']);
  });

  it('that left are not counted', () => {
    const held = createHeldStreams({ maxPerPeer: 1, max: 2 });
    for (let i = 0; i < 5; i++) {
      const it = stream(`${i}`);
      held.enter('a', it);
      held.leave('a', it);
      held.leave('a', it);
    }
    assert.deepEqual(closed, []);
  });

  it('have room for a peer while a place is free, or another peer holds two more', () => {
    const held = createHeldStreams({ maxPerPeer: 2, max: 3 });
    held.enter('a', stream('1'));
    assert.ok(held.hasRoomFor('a'));
    held.enter('a', stream('2'));
    assert.ok(!held.hasRoomFor('a'), 'it holds as many as one peer may');
    held.enter('b', stream('3'));
    assert.ok(held.hasRoomFor('c'), 'a holds two more');
    assert.ok(!held.hasRoomFor('b'), 'a holds one more');
    held.enter('c', stream('4'));
    assert.deepEqual(closed.splice(0), ['1']);
    assert.ok(!held.hasRoomFor('d'), 'each holds one');
  });
});
