// The tests' own clock keeps its promises, for many tests rest on it.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fakeClock } from '../../support/fake-clock.ts';

it('a fake clock wakes sleepers in order, each at its own time', async () => {
  const clock = fakeClock(1000);
  const woken: [string, number][] = [];
  const sleep = async (name: string, ms: number): Promise<void> => {
    await clock.sleep(ms);
    woken.push([name, clock.nowMs()]);
    if (name === 'early') await sleep('again', 5);
  };
  const sleeping = [sleep('late', 20), sleep('early', 10), sleep('much later', 100)];
  await clock.advance(20);
  assert.deepEqual(woken, [
    ['early', 1010],
    ['again', 1015],
    ['late', 1020],
  ]);
  assert.equal(clock.nowMs(), 1020);
  await clock.advance(80);
  await Promise.all(sleeping);
});

it('a fake clock’s sleep ends at once when aborted', async () => {
  const clock = fakeClock();
  const ending = new AbortController();
  const asleep = clock.sleep(1e9, ending.signal);
  ending.abort();
  await asleep;
  await clock.sleep(5, ending.signal);
  assert.equal(clock.sleepers(), 0);
});
