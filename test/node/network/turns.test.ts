// Turns: in order, and the event loop gets its own in between.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurns } from '../../../node/network/turns.ts';

/** Keeps the thread for so long. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** How often the event loop came round while `count` pieces of work waited for their turns at once. */
async function roundsWhile(turn: () => Promise<void>, count: number): Promise<{ order: number[]; rounds: number }> {
  const order: number[] = [];
  let rounds = 0;
  let isOver = false;
  const round = (): void => {
    rounds++;
    if (!isOver) setImmediate(round);
  };
  setImmediate(round);
  await Promise.all(
    Array.from({ length: count }, async (_, k) => {
      await turn();
      order.push(k);
      work(2);
    }),
  );
  isOver = true;
  return { order, rounds };
}

test('a burst runs in its order and lets the loop round every few pieces', async () => {
  const { order, rounds } = await roundsWhile(createTurns(5), 40);
  assert.deepEqual(
    order,
    order.map((_, k) => k),
  );
  // 80 ms of work in slices of 5 ms, the last piece of each over it by at most 2 ms.
  assert.ok(rounds >= 10, String(rounds));
  const kept = await roundsWhile(createTurns(10_000), 40);
  assert.ok(kept.rounds <= 2, String(kept.rounds));
});

test('pieces within a slice do not wait for the loop', async () => {
  const turn = createTurns(10_000);
  await turn();
  let isRound = false;
  setImmediate(() => {
    isRound = true;
  });
  for (let k = 0; k < 100; k++) await turn();
  assert.equal(isRound, false);
});

test('a piece that comes after a pause does not wait for the loop either', async () => {
  const turn = createTurns();
  await turn();
  await new Promise((resolve) => setTimeout(resolve, 20));
  let isRound = false;
  setImmediate(() => {
    isRound = true;
  });
  await turn();
  assert.equal(isRound, false);
});
