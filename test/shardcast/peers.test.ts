// Whom shards are asked of: the rule of spec/shardcast.md, in numbers worked by hand.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createShardPeers } from '../../shardcast/peers.ts';
import { randomNumbers } from '../support/random-model.ts';

function shares(peers: ReturnType<typeof createShardPeers>, candidates: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = Object.fromEntries(candidates.map((peer) => [peer, 0]));
  const n = 10_000;
  const draw = randomNumbers(7);
  for (let k = 0; k < n; k++) counts[peers.choose(candidates, draw)!]! += 1 / n;
  return counts;
}

test('the probability is proportional to success × bandwidth', () => {
  const peers = createShardPeers();
  peers.succeeded('fast', 3_000, 1);
  peers.succeeded('slow', 1_000, 1);
  // fast: success 0.7 · 0.5 + 0.3 + healing 0.01 once more = 0.667; slow: 0.657 (healed before the average)
  const got = shares(peers, ['fast', 'slow']);
  const fast = peers.score('fast').success * 3_000;
  const slow = peers.score('slow').success * 1_000;
  assert.ok(Math.abs(got['fast']! - fast / (fast + slow)) < 0.02);
});

test('a failure counts against success, not bandwidth, and heals by 0.01 an update', () => {
  const peers = createShardPeers();
  peers.succeeded('a', 1_000, 1);
  const before = peers.score('a');
  peers.failed('a');
  assert.equal(peers.score('a').bytesPerMs, before.bytesPerMs);
  assert.ok(Math.abs(peers.score('a').success - 0.7 * (before.success + 0.01)) < 1e-12);
  const low = peers.score('a').success;
  peers.succeeded('b', 1_000, 1);
  assert.ok(Math.abs(peers.score('a').success - (low + 0.01)) < 1e-12);
});

test('at most a quarter of the requests go to peers that have delivered nothing', () => {
  const peers = createShardPeers();
  peers.succeeded('old', 10, 1_000);
  const got = shares(peers, ['old', 'new 1', 'new 2']);
  assert.ok(got['old']! >= 0.74);
  assert.ok(got['new 1']! > 0.05 && got['new 2']! > 0.05, 'newcomers get a trial');
});

test('who is late is as fast as was waited at most, half as fast as before at least, and fails', () => {
  const peers = createShardPeers();
  peers.succeeded('a', 1_000, 1);
  const before = peers.score('a');
  peers.late('a', 4_000, 10);
  assert.equal(peers.score('a').bytesPerMs, 400);
  assert.ok(Math.abs(peers.score('a').success - 0.7 * (before.success + 0.01)) < 1e-12);
  peers.late('a', 4_000, 10);
  assert.equal(peers.score('a').bytesPerMs, 200, 'again and again: less each time');
  for (let i = 0; i < 20; i++) peers.late('a', 4_000, 10);
  assert.equal(peers.score('a').bytesPerMs, 1, 'never quite out');
  peers.succeeded('a', 1_000, 1);
  assert.ok(Math.abs(peers.score('a').bytesPerMs - (0.7 + 300)) < 1e-9, 'a delivery counts as ever');
});

test('a newcomer that was late gets fewer of the trials, also when it is the only one', () => {
  const peers = createShardPeers();
  peers.succeeded('old', 10, 1_000);
  peers.late('late', 64, 1);
  const got = shares(peers, ['old', 'late']);
  // 0.25 · 64 / 256
  assert.ok(Math.abs(got['late']! - 0.0625) < 0.01, `${got['late']}`);
});

test('with newcomers alone, or nobody', () => {
  const peers = createShardPeers();
  assert.equal(
    peers.choose(['x'], () => 0.99),
    'x',
  );
  assert.equal(
    peers.choose([], () => 0.5),
    null,
  );
});
