// Ed25519: RFC 8032’s vectors, and signatures that other libraries would take.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import nacl from 'tweetnacl';
import { concatBytes, fromHex, utf8 } from '../../../node/protocol/bytes.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import { createVerifier, signMessage, verifySignature } from '../../../node/protocol/signing.ts';

const keyPair = createKeyPair((count) => new Uint8Array(count).fill(4));
const message = utf8('what was said');
const signature = signMessage(keyPair.secretKey, message);

/** Order of the base point, RFC 8032 §5.1. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

/** The same signature with S + L in place of S: valid by the equation, forbidden by RFC 8032 §5.1.7. */
function malleated(of: Uint8Array): Uint8Array {
  const s = BigInt(`0x${Buffer.from(of.slice(32)).reverse().toString('hex')}`) + L;
  const bytes = fromHex(s.toString(16).padStart(64, '0')).reverse();
  return concatBytes(of.slice(0, 32), bytes);
}

describe('a signature', () => {
  it('is RFC 8032’s (§7.1, test 2)', () => {
    const seed = fromHex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb');
    const pair = createKeyPair(() => seed);
    const expected =
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00';
    assert.deepEqual(signMessage(pair.secretKey, Uint8Array.of(0x72)), fromHex(expected));
  });

  it('verifies under its key and message only', () => {
    assert.equal(verifySignature(keyPair.publicKey, message, signature), true);
    assert.equal(verifySignature(createKeyPair().publicKey, message, signature), false);
    assert.equal(verifySignature(keyPair.publicKey, utf8('what was said!'), signature), false);
  });

  it('does not verify when malleated, though tweetnacl would take it', () => {
    const other = malleated(signature);
    assert.equal(nacl.sign.detached.verify(message, other, keyPair.publicKey), true);
    assert.equal(verifySignature(keyPair.publicKey, message, other), false);
  });

  it('of wrong length, or under a key of wrong length, is false and no error', () => {
    assert.equal(verifySignature(keyPair.publicKey, message, signature.slice(1)), false);
    assert.equal(verifySignature(keyPair.publicKey.slice(1), message, signature), false);
    assert.equal(verifySignature(new Uint8Array(32).fill(0xff), message, signature), false);
  });

  it('under keys of small order fits no message', () => {
    // The neutral point as key and as R, S = 0: fits every message where small orders are let through.
    const neutral = new Uint8Array(32);
    neutral[0] = 1;
    const empty = concatBytes(neutral, new Uint8Array(32));
    assert.equal(nacl.sign.detached.verify(message, empty, neutral), true);
    assert.equal(verifySignature(neutral, message, empty), false);
  });
});

describe('a verifier', () => {
  it('answers the same when it knows a key already, and when it has forgotten it', () => {
    const verifier = createVerifier(2);
    const others = [createKeyPair(), createKeyPair(), createKeyPair()];
    for (let round = 0; round < 3; round++) {
      assert.equal(verifier(keyPair.publicKey, message, signature), true);
      assert.equal(verifier(keyPair.publicKey, message, malleated(signature)), false);
      for (const other of others) {
        assert.equal(verifier(other.publicKey, message, signMessage(other.secretKey, message)), true);
        assert.equal(verifier(other.publicKey, message, signature), false);
      }
    }
    assert.equal(verifier(keyPair.publicKey.slice(1), message, signature), false);
  });
});
