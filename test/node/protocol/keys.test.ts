// Key pairs and peer ids, beside libp2p’s own.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id';
import { fromUtf8, utf8 } from '../../../node/protocol/bytes.ts';
import {
  createKeyPair,
  decodeKeyFile,
  encodeKeyFile,
  isSealedKeyFile,
  keyPairOfSecretKey,
  peerIdOfPublicKey,
  peerIdOfString,
  peerIdStringOf,
  publicKeyOfPeerId,
} from '../../../node/protocol/keys.ts';

const BAD_KEY = { name: 'SwarmError', code: 'BAD_KEY' };
const seeded = (seed: number) => createKeyPair((count) => new Uint8Array(count).fill(seed));

describe('a key pair', () => {
  it('is libp2p’s own, byte for byte', async () => {
    const ours = seeded(3);
    const theirs = await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(3));
    assert.deepEqual(ours.secretKey, new Uint8Array(theirs.raw));
    const peer = peerIdFromPrivateKey(theirs);
    assert.equal(ours.peerIdString, peer.toString());
    assert.deepEqual(ours.peerId, new Uint8Array(peer.toMultihash().bytes));
  });

  it('is another one each time', () => assert.notEqual(createKeyPair().peerIdString, createKeyPair().peerIdString));

  it('whose halves do not belong together is refused', () => {
    const secretKey = seeded(1).secretKey.slice();
    secretKey[40]! ^= 1;
    assert.throws(() => keyPairOfSecretKey(secretKey), BAD_KEY);
    assert.throws(() => keyPairOfSecretKey(secretKey.slice(1)), BAD_KEY);
  });
});

describe('a peer id', () => {
  it('gives its public key and its text, and back', () => {
    const { publicKey, peerId, peerIdString } = seeded(9);
    assert.deepEqual(publicKeyOfPeerId(peerId), publicKey);
    assert.deepEqual(peerIdOfPublicKey(publicKey), peerId);
    assert.equal(peerIdStringOf(peerId), peerIdString);
    assert.deepEqual(peerIdOfString(peerIdString), peerId);
    assert.equal(peerIdFromString(peerIdString).type, 'Ed25519');
  });

  it('of another kind of key, or of none, is refused', () => {
    const rsa = 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N';
    for (const text of [rsa, '', '12D3', 'not base58: 0OIl', 'z'.repeat(10_000)]) {
      assert.throws(() => peerIdOfString(text), BAD_KEY);
    }
  });
});

describe('a key file', () => {
  const keyPair = seeded(5);

  it('gives back the key', () => assert.deepEqual(decodeKeyFile(encodeKeyFile(keyPair)), keyPair));

  it('under a passphrase shows nothing of the secret, and opens with that passphrase only', () => {
    const file = encodeKeyFile(keyPair, 'correct horse');
    assert.ok(!fromUtf8(file).includes(Buffer.from(keyPair.secretKey).toString('hex').slice(0, 16)));
    assert.equal(isSealedKeyFile(file), true);
    assert.deepEqual(decodeKeyFile(file, 'correct horse'), keyPair);
    assert.throws(() => decodeKeyFile(file, 'wrong horse'), BAD_KEY);
    assert.throws(() => decodeKeyFile(file), BAD_KEY);
  });

  it('is refused when damaged', () => {
    const text = fromUtf8(encodeKeyFile(keyPair));
    const other = text.replace(keyPair.peerIdString, seeded(6).peerIdString);
    const cut = text.replace(/"secretKey": "../, '"secretKey": "');
    const version = text.replace('"version": 1', '"version": 2');
    for (const bad of [other, cut, version, text.slice(0, 50), '', 'null', '[]', '{"version":1}']) {
      assert.throws(() => decodeKeyFile(utf8(bad)), BAD_KEY);
    }
  });

  it('cannot ask for a costly scrypt', () => {
    const text = fromUtf8(encodeKeyFile(keyPair, 'x')).replace(/"N": \d+/, '"N": 1073741824');
    assert.throws(() => decodeKeyFile(utf8(text), 'x'), BAD_KEY);
  });
});
