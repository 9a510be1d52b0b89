// The parts that bound what peers can make us hold: frames, buckets, the parking lot, penalty points. No network.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createCarrierGate } from '../../../node/network/carrier-gate.ts';
import { createFrameReader, lengthPrefix } from '../../../node/network/frames.ts';
import { createParkingLot, MAX_PARKED_PER_SCOPE, MAX_PARKED_PER_SIGNER } from '../../../node/network/parking.ts';
import { readPayloadHead } from '../../../node/network/payload-head.ts';
import { createRateLimiter } from '../../../node/network/rate-limit.ts';
import { BAN_POINTS, createStanding, PENALTY } from '../../../node/network/standing.ts';
import { concatBytes, equalBytes } from '../../../node/protocol/bytes.ts';
import { ignore } from '../../../node/protocol/check.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import type { Clock, SignedMessage } from '../../../node/protocol/ports.ts';
import { createTestLogger, groupPayload, RECIPE } from './support.ts';

function handClock(): Clock & { advance(ms: number): void } {
  let nowMs = 1_000_000;
  const advance = (ms: number): void => {
    nowMs += ms;
  };
  return { nowMs: () => nowMs, sleep: async () => undefined, advance };
}

describe('frames', () => {
  it('come out as they went in, in chunks of any sizes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 5_000, size: 'max' }),
        fc.integer({ min: 1, max: 2_000 }),
        (bytes, size) => {
          const read = createFrameReader(5_000);
          const whole = concatBytes(lengthPrefix(bytes.length), bytes);
          let got: Uint8Array | null = null;
          for (let at = 0; at < whole.length; at += size) {
            assert.equal(got, null);
            got = read(whole.subarray(at, at + size));
          }
          assert.ok(got !== null && equalBytes(got, bytes));
        },
      ),
      { numRuns: 20 },
    );
  });

  it('are refused when too long, before their bytes come, and when bytes follow', () => {
    assert.throws(() => createFrameReader(10)(lengthPrefix(11)), { code: 'TOO_LARGE' });
    assert.throws(() => createFrameReader(10)(Uint8Array.of(0x80, 0x80, 0x80, 0x80)), { code: 'MALFORMED' });
    assert.throws(() => createFrameReader(10)(Uint8Array.of(1, 1, 1)), { code: 'MALFORMED' });
    assert.deepEqual(createFrameReader(10)(Uint8Array.of(0)), new Uint8Array(0));
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), (chunks) => {
        const read = createFrameReader(16);
        try {
          for (const chunk of chunks) {
            const message = read(chunk);
            if (message !== null) return assert.ok(message.length <= 16);
          }
        } catch (error) {
          assert.ok(isSwarmError(error, 'TOO_LARGE', 'MALFORMED'));
        }
      }),
    );
  });
});

describe('payload heads', () => {
  it('give recipe and step, the last of repeated ones, and null for what is no message', () => {
    assert.deepEqual(readPayloadHead(groupPayload(3, RECIPE, 7)), { recipeIdHex: RECIPE, policyStep: 7 });
    const twice = concatBytes(groupPayload(3, 'ab'.repeat(32), 1), groupPayload(3, RECIPE, 2));
    assert.deepEqual(readPayloadHead(twice), { recipeIdHex: RECIPE, policyStep: 2 });
    assert.deepEqual(readPayloadHead(new Uint8Array(0)), { recipeIdHex: null, policyStep: 0 });
    assert.equal(readPayloadHead(Uint8Array.of(0x0a, 0x7f, 1)), null);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void readPayloadHead(bytes)));
  });
});

describe('rate limits', () => {
  it('let a burst through, then what comes back in time, each name by itself, in bounded memory', () => {
    const clock = handClock();
    const limiter = createRateLimiter(clock, { perSecond: 10, burst: 3, maxNames: 2 });
    assert.deepEqual(
      [1, 2, 3, 4].map(() => limiter.take('a')),
      [true, true, true, false],
    );
    assert.equal(limiter.take('b'), true);
    assert.equal(limiter.waitMs('a', 1), 100);
    clock.advance(99);
    assert.equal(limiter.take('a'), false);
    clock.advance(1);
    assert.equal(limiter.take('a'), true);
    assert.equal(limiter.take('a'), false);
    clock.advance(60_000);
    assert.equal(limiter.left('a'), 3);
    assert.equal(limiter.take('a', 4), false);
    limiter.take('a', 3);
    limiter.take('b');
    limiter.take('c');
    assert.equal(limiter.left('a'), 3, 'the name used longest ago was forgotten');
  });
});

describe('the gate of carriers', () => {
  it('admits a little of a new one, and more of one that has been here', () => {
    const clock = handClock();
    const gate = createCarrierGate({ clock }, { perSecond: 10, burst: 100 });
    assert.equal(gate.admit('new', 50), 10);
    assert.equal(gate.admit('new', 50), 0);
    clock.advance(60_000);
    assert.equal(gate.admit('new', 200), 100);
  });

  it('admits nothing from who brought too much that nobody passes on, until that is made up for', () => {
    const clock = handClock();
    const gate = createCarrierGate({ clock });
    for (const code of ['QUARANTINED', 'SLOT_SEEN', 'UNKNOWN_ROOT', 'INTERNAL'] as const) {
      for (let i = 0; i < 100; i++) gate.settle('honest', ignore(code));
    }
    assert.equal(gate.admit('honest', 1), 1);
    for (let i = 0; i < 60; i++) gate.settle('liar', ignore('SIZE_MISMATCH'));
    assert.equal(gate.admit('liar', 1), 0);
    clock.advance(2_000);
    assert.equal(gate.admit('liar', 1), 0);
    clock.advance(1_000);
    assert.equal(gate.admit('liar', 1), 1);
  });

  it('has a bounded number of places', () => {
    const gate = createCarrierGate({ clock: handClock() });
    let entered = 0;
    while (entered < 10_000 && gate.enter('p')) entered++;
    assert.equal(entered, 256);
    gate.leave('p');
    assert.equal(gate.enter('p'), true);
    assert.equal(gate.enter('q'), true);
  });
});

describe('the parking lot', () => {
  const message = (signer: number, i: number): SignedMessage =>
    ({ idHex: `${signer}-${i}`, peerIdString: `peer${signer}` }) as SignedMessage;

  it('holds a bounded number for each signer and scope, each once, and not for ever', () => {
    const clock = handClock();
    const expired: string[] = [];
    const lot = createParkingLot({ clock, onExpired: (parked) => expired.push(parked.code) });
    const park = (signer: number, i: number): boolean => lot.park(message(signer, i), RECIPE, 'UNKNOWN_ROOT');
    for (let i = 0; i < MAX_PARKED_PER_SIGNER; i++) assert.equal(park(0, i), true);
    assert.equal(park(0, 99), false);
    assert.equal(park(0, 0), true, 'one that waits already');
    assert.equal(lot.size(), MAX_PARKED_PER_SIGNER);
    const signers = MAX_PARKED_PER_SCOPE / MAX_PARKED_PER_SIGNER;
    for (let signer = 1; signer < signers; signer++) for (let i = 0; i < MAX_PARKED_PER_SIGNER; i++) park(signer, i);
    assert.equal(lot.size(), MAX_PARKED_PER_SCOPE);
    assert.equal(park(signers, 0), false);
    assert.equal(lot.park(message(signers, 0), null, 'UNKNOWN_RECIPE'), true);
    clock.advance(11 * 60_000);
    assert.equal(park(signers, 0), true);
    assert.equal(expired.length, MAX_PARKED_PER_SCOPE);
    assert.deepEqual(
      lot.takeAll(RECIPE).map((it) => it.message.idHex),
      [`${signers}-0`],
    );
    assert.deepEqual(lot.takeAll(RECIPE), []);
  });
});

describe('standing', () => {
  it('fades, and bans at the limit for a while', () => {
    const clock = handClock();
    const standing = createStanding({ clock, logger: createTestLogger() });
    const banned: string[] = [];
    standing.onBan(({ peer }) => banned.push(peer));
    standing.penalize('p', 'corrupt blob');
    clock.advance(10 * 60_000);
    assert.equal(standing.points('p'), PENALTY['corrupt blob'] / 2);
    standing.penalize('p', 'corrupt blob');
    assert.equal(standing.isBanned('p'), false);
    standing.penalize('p', 'corrupt blob');
    assert.ok(PENALTY['corrupt blob'] * 2.5 >= BAN_POINTS);
    assert.deepEqual(banned, ['p']);
    assert.equal(standing.banned()[0]?.peer, 'p');
    clock.advance(31 * 60_000);
    assert.equal(standing.isBanned('p'), false);
    assert.deepEqual(standing.banned(), []);
  });
});
