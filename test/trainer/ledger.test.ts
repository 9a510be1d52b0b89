// The ledger: whatever happens in whatever order, each group ends once and the counts add up, also over restarts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLedger, type FinalState, type Ledger } from '../../trainer/ledger.ts';
import { assertAddsUp } from '../support/adds-up.ts';
import { memoryRecords } from '../support/memory-store.ts';

const RECIPE = 'aa'.repeat(32);
const idOf = (n: number): string => n.toString(16).padStart(64, '0');
const rowOf = (n: number) => ({
  groupId: idOf(n),
  peer: `peer ${n % 3}`,
  policyStep: n % 8,
  slot: n,
  bodyHash: idOf(n + 1000),
});
const NOTHING = { step: 0, consumed: new Map<string, number>() };

type Event =
  | { readonly do: 'announce'; readonly n: number }
  | { readonly do: 'finish'; readonly n: number; readonly state: FinalState; readonly reason: string | null }
  | { readonly do: 'fold'; readonly below: number }
  | { readonly do: 'flush' }
  | { readonly do: 'restart' };

const n = fc.nat(30);
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ do: fc.constant('announce' as const), n }),
  fc.record({
    do: fc.constant('finish' as const),
    n,
    state: fc.constantFrom<FinalState>('trained', 'rejected', 'stale', 'dropped'),
    reason: fc.constantFrom(null, 'zeroAdvantage', 'REPLAY_MISMATCH'),
  }),
  fc.record({ do: fc.constant('fold' as const), below: fc.nat(9) }),
  fc.record({ do: fc.constant('flush' as const) }),
  fc.record({ do: fc.constant('restart' as const) }),
);

function check(ledger: Ledger): void {
  const { announced, trained, rejected, stale, dropped, pending, reasons } = ledger.counts();
  assertAddsUp(ledger.counts());
  assert.ok([announced, trained, rejected, stale, dropped, pending].every((count) => count >= 0));
  const sum = (prefix: string): number =>
    Object.entries(reasons).reduce((total, [key, count]) => total + (key.startsWith(prefix) ? count : 0), 0);
  assert.ok(sum('dropped.') <= dropped && sum('rejected.') <= rejected);
}

test('counts add up over any order of events, and the first final state wins', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 80 }), async (events) => {
      const records = memoryRecords();
      let ledger = createLedger(records, RECIPE);
      await ledger.open({ step: Number.MAX_SAFE_INTEGER, consumed: new Map() });
      const ends = new Map<string, string>();
      let folded = 0;
      for (const each of events) {
        if (each.do === 'announce') {
          const isKnown = ends.has(idOf(each.n));
          if (ledger.announce(rowOf(each.n))) assert.ok(!isKnown || rowOf(each.n).policyStep >= folded);
          if (!isKnown && rowOf(each.n).policyStep >= folded) ends.set(idOf(each.n), 'pending');
        }
        if (each.do === 'finish') {
          const before = ledger.get(idOf(each.n))?.state;
          const did = ledger.finish(idOf(each.n), each.state, each.reason);
          assert.equal(did, before === 'pending');
          if (did) ends.set(idOf(each.n), each.state);
        }
        if (each.do === 'fold') {
          await ledger.fold(each.below);
          folded = Math.max(folded, each.below);
          for (let k = 0; k <= 30; k++) {
            if (rowOf(k).policyStep < folded && ends.get(idOf(k)) === 'pending') ends.set(idOf(k), 'stale');
          }
        }
        if (each.do === 'flush') await ledger.flush();
        if (each.do === 'restart') {
          await ledger.flush();
          ledger = createLedger(records, RECIPE);
          await ledger.open({ step: Number.MAX_SAFE_INTEGER, consumed: new Map() });
        }
        check(ledger);
      }
      const counts = ledger.counts();
      const of = (state: string): number => [...ends.values()].filter((end) => end === state).length;
      assert.deepEqual(
        [counts.announced, counts.trained, counts.rejected, counts.stale, counts.dropped, counts.pending],
        [ends.size, of('trained'), of('rejected'), of('stale'), of('dropped'), of('pending')],
      );
    }),
    { numRuns: 150 },
  );
});

test('the checkpoint decides what was trained, not the cache', async () => {
  const records = memoryRecords();
  const first = createLedger(records, RECIPE);
  await first.open(NOTHING);
  for (const k of [1, 2, 3]) first.announce(rowOf(k));
  first.finish(idOf(1), 'trained', null, 4);
  first.finish(idOf(2), 'trained', null, 5);
  await first.flush();
  // Checkpoint 5 was lost: its groups may be trained again. Group 3 is in checkpoint 4, though the cache does not say so.
  const again = createLedger(records, RECIPE);
  await again.open({
    step: 4,
    consumed: new Map([
      [idOf(1), 4],
      [idOf(3), 4],
      [idOf(9), 4],
    ]),
  });
  assert.deepEqual(
    [1, 2, 3].map((k) => again.get(idOf(k))?.state),
    ['trained', 'pending', 'trained'],
  );
  again.announce(rowOf(9));
  assert.equal(again.get(idOf(9))?.state, 'trained', 'consumed before the cache heard of it');
  check(again);
});

test('rows leave memory when folded, and the disk after 1 000 steps', async () => {
  const records = memoryRecords();
  const ledger = createLedger(records, RECIPE);
  await ledger.open(NOTHING);
  for (let step = 0; step < 1_100; step += 100) ledger.announce({ ...rowOf(step), policyStep: step });
  await ledger.flush();
  await ledger.fold(1_050);
  assert.equal([...ledger.rows()].length, 0);
  assert.equal(ledger.counts().announced, 11);
  assert.equal(ledger.counts().stale, 11);
  assert.equal(ledger.announce(rowOf(3)), false, 'older than what is kept');
  const keys: string[] = [];
  for await (const [key] of records.entries({ gte: 'ledger/', lt: 'ledger0' })) keys.push(key);
  assert.equal(keys.length, 10, 'the row of step 0 is gone');
});

test('a broken record is named', async () => {
  const records = memoryRecords();
  await records.put(`ledger/${RECIPE}/0000000001/${idOf(1)}`, Uint8Array.of(123));
  await assert.rejects(createLedger(records, RECIPE).open(NOTHING), { code: 'RECORD_CORRUPT' });
});
