// Bytes, hex and integers: one spelling each, both ways, over views too.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  concatBytes,
  equalBytes,
  fromHex,
  fromUtf8,
  plainBytes,
  sha256,
  toHex,
  u32be,
  utf8,
} from '../../../node/protocol/bytes.ts';

const MALFORMED = { name: 'SwarmError', code: 'MALFORMED' };

describe('hex', () => {
  it('is lower-case and goes both ways, over views too', () => {
    const view = Uint8Array.of(0, 1, 0xab, 0xff, 9).subarray(1, 4);
    assert.equal(toHex(view), '01abff');
    assert.deepEqual(fromHex('01abff', 3), Uint8Array.of(1, 0xab, 0xff));
  });

  it('has one spelling only', () => {
    for (const text of ['AB', 'a', '0x00', 'zz', 'ab ', ' ab', 'ab\n']) assert.throws(() => fromHex(text), MALFORMED);
    assert.throws(() => fromHex('abcd', 1), MALFORMED);
  });
});

describe('bytes', () => {
  it('are joined into new memory', () => {
    const part = Uint8Array.of(1, 2);
    const joined = concatBytes(part, Uint8Array.of(3));
    part[0] = 9;
    assert.deepEqual(joined, Uint8Array.of(1, 2, 3));
  });

  it('are equal by length and content', () => {
    assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2)), true);
    assert.equal(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)), false);
    assert.equal(equalBytes(Uint8Array.of(1), Uint8Array.of(1, 0)), false);
  });

  it('of integers are big-endian and bounded', () => {
    assert.deepEqual(u32be(0xfffffffe), Uint8Array.of(255, 255, 255, 254));
    for (const value of [-1, 2 ** 32, 0.5, Number.NaN]) assert.throws(() => u32be(value), MALFORMED);
  });

  it('hash as SHA-256 does, in parts or whole', () => {
    // FIPS 180-2, appendix B.1
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    assert.equal(toHex(sha256('abc')), abc);
    assert.equal(toHex(sha256(utf8('a'), 'b', utf8('c'))), abc);
  });

  it('of a Buffer become plain without a copy', () => {
    const buffer = Buffer.from([1, 2, 3]).subarray(1);
    const plain = plainBytes(buffer);
    assert.equal(Object.getPrototypeOf(plain), Uint8Array.prototype);
    assert.equal(plain.buffer, buffer.buffer);
    assert.deepEqual(plain, Uint8Array.of(2, 3));
  });

  it('that are no UTF-8 are refused', () => {
    assert.equal(fromUtf8(utf8('grüß 🐦')), 'grüß 🐦');
    assert.throws(() => fromUtf8(Uint8Array.of(0xff)), MALFORMED);
  });
});
