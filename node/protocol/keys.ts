// An identity is an Ed25519 key pair; its libp2p peer id follows from the public key. And how a key lies on disk.
// Source: design.md "Keys"; libp2p peer-ids spec (identity multihash of the protobuf public key for Ed25519).
// Invariant: pure; the store writes the file. tweetnacl makes and seals keys, node:crypto signs (signing.ts).

import { randomBytes, scryptSync } from 'node:crypto';
import { base58btc } from 'multiformats/bases/base58';
import nacl from 'tweetnacl';
import { concatBytes, equalBytes, fromHex, fromUtf8, toHex, utf8 } from './bytes.ts';
import { SwarmError } from './errors.ts';

export const PUBLIC_KEY_BYTES: number = 32;
export const SECRET_KEY_BYTES: number = 64;
export const PEER_ID_BYTES: number = 38;

/** Multihash: identity (0x00), 36 bytes; protobuf: field 1 KeyType = Ed25519 (1), field 2 Data of 32 bytes. */
const PEER_ID_PREFIX: Uint8Array = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);

/** scrypt at 32 MiB and some 100 ms: an offline guess costs as much. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1 } as const;
const SCRYPT_MAX_N = 2 ** 20;
const KEY_FILE_VERSION = 1;

export interface KeyPair {
  /** 32 bytes */
  readonly publicKey: Uint8Array;
  /** 64 bytes: seed ‖ public key, as libp2p and tweetnacl have it */
  readonly secretKey: Uint8Array;
  /** multihash of the peer id, 38 bytes */
  readonly peerId: Uint8Array;
  /** 12D3Koo… */
  readonly peerIdString: string;
}

/** Peer id (multihash, 38 bytes) of a public key. @throws {SwarmError} BAD_KEY */
export function peerIdOfPublicKey(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== PUBLIC_KEY_BYTES) {
    throw new SwarmError('BAD_KEY', `an Ed25519 public key has ${PUBLIC_KEY_BYTES} bytes, got ${publicKey.length}`);
  }
  return concatBytes(PEER_ID_PREFIX, publicKey);
}

/** Whether bytes are the multihash of an Ed25519 peer id. */
export function isPeerId(bytes: Uint8Array): boolean {
  return bytes.length === PEER_ID_BYTES && equalBytes(bytes.subarray(0, PEER_ID_PREFIX.length), PEER_ID_PREFIX);
}

/** Public key inside a peer id. @throws {SwarmError} BAD_KEY for any but Ed25519 peer ids */
export function publicKeyOfPeerId(peerId: Uint8Array): Uint8Array {
  if (!isPeerId(peerId)) throw new SwarmError('BAD_KEY', 'a peer id must be that of an Ed25519 key (12D3Koo…)');
  return peerId.slice(PEER_ID_PREFIX.length);
}

/** Text form of a peer id: base58btc of its multihash. */
export function peerIdStringOf(peerId: Uint8Array): string {
  return base58btc.baseEncode(peerId);
}

/** Multihash of a peer id's text form. @throws {SwarmError} BAD_KEY */
export function peerIdOfString(text: string): Uint8Array {
  try {
    // 52 digits carry 38 bytes; base58 decoding is quadratic, so the length is looked at first.
    if (text.length > 64) throw new RangeError('too long');
    const peerId = base58btc.baseDecode(text);
    publicKeyOfPeerId(peerId);
    return peerId;
  } catch (cause) {
    throw new SwarmError('BAD_KEY', 'expected a peer id in text form (12D3Koo…)', { length: text.length }, { cause });
  }
}

/** The key pair of a 64-byte secret. @throws {SwarmError} BAD_KEY when its halves do not belong together */
export function keyPairOfSecretKey(secretKey: Uint8Array): KeyPair {
  if (secretKey.length !== SECRET_KEY_BYTES) {
    throw new SwarmError('BAD_KEY', `an Ed25519 secret key has ${SECRET_KEY_BYTES} bytes, got ${secretKey.length}`);
  }
  const pair = nacl.sign.keyPair.fromSeed(secretKey.slice(0, nacl.sign.seedLength));
  if (!equalBytes(pair.secretKey, secretKey)) {
    throw new SwarmError('BAD_KEY', 'the secret key does not end in its own public key; restore the key file');
  }
  const peerId = peerIdOfPublicKey(pair.publicKey);
  return { publicKey: pair.publicKey, secretKey: pair.secretKey, peerId, peerIdString: peerIdStringOf(peerId) };
}

/**
 * A new identity.
 * @param random source of 32 bytes; tests give their own
 */
export function createKeyPair(random: (count: number) => Uint8Array = randomBytes): KeyPair {
  return keyPairOfSecretKey(nacl.sign.keyPair.fromSeed(new Uint8Array(random(nacl.sign.seedLength))).secretKey);
}

interface KeyFile {
  readonly version: number;
  readonly peerId: string;
  /** hex; only in an open file */
  readonly secretKey?: string;
  /** hex; only in a sealed file */
  readonly sealed?: { readonly box: string; readonly nonce: string; readonly salt: string; readonly N: number };
}

function boxKey(passphrase: string, salt: Uint8Array, N: number): Uint8Array {
  const { r, p } = SCRYPT;
  return new Uint8Array(
    scryptSync(passphrase.normalize('NFKC'), salt, nacl.secretbox.keyLength, { N, r, p, maxmem: 256 * N * r }),
  );
}

/**
 * The bytes of a key file: JSON, the secret sealed by nacl.secretbox under scrypt of the passphrase when there is one.
 * @param random for salt and nonce; tests give their own
 */
export function encodeKeyFile(
  keyPair: KeyPair,
  passphrase?: string,
  random: (count: number) => Uint8Array = randomBytes,
): Uint8Array {
  const open = { version: KEY_FILE_VERSION, peerId: keyPair.peerIdString };
  if (passphrase === undefined || passphrase === '') {
    return utf8(`${JSON.stringify({ ...open, secretKey: toHex(keyPair.secretKey) } satisfies KeyFile, null, 2)}\n`);
  }
  const salt = new Uint8Array(random(16));
  const nonce = new Uint8Array(random(nacl.secretbox.nonceLength));
  const box = nacl.secretbox(keyPair.secretKey, nonce, boxKey(passphrase, salt, SCRYPT.N));
  const sealed = { box: toHex(box), nonce: toHex(nonce), salt: toHex(salt), N: SCRYPT.N };
  return utf8(`${JSON.stringify({ ...open, sealed } satisfies KeyFile, null, 2)}\n`);
}

/**
 * The key pair of a key file.
 * @throws {SwarmError} BAD_KEY when the file is damaged, the passphrase is missing or wrong
 */
export function decodeKeyFile(bytes: Uint8Array, passphrase?: string): KeyPair {
  const file = parseKeyFile(bytes);
  const keyPair = keyPairOfSecretKey(file.sealed === undefined ? openSecret(file) : unseal(file.sealed, passphrase));
  if (keyPair.peerIdString !== file.peerId) {
    throw new SwarmError('BAD_KEY', 'the key file names another peer id than its key has; restore it from a backup');
  }
  return keyPair;
}

/** Whether a key file needs a passphrase. @throws {SwarmError} BAD_KEY */
export function isSealedKeyFile(bytes: Uint8Array): boolean {
  return parseKeyFile(bytes).sealed !== undefined;
}

function parseKeyFile(bytes: Uint8Array): KeyFile {
  try {
    const file: unknown = JSON.parse(fromUtf8(bytes));
    if (typeof file === 'object' && file !== null && 'version' in file && file.version === KEY_FILE_VERSION) {
      return file as KeyFile;
    }
  } catch (cause) {
    throw new SwarmError('BAD_KEY', 'the key file is damaged; restore it from a backup', {}, { cause });
  }
  throw new SwarmError('BAD_KEY', 'the key file is of another version; use the release that wrote it');
}

function keyHex(hex: unknown, byteLength: number): Uint8Array {
  try {
    return fromHex(String(hex), byteLength);
  } catch (cause) {
    throw new SwarmError('BAD_KEY', 'the key file is damaged; restore it from a backup', {}, { cause });
  }
}

function openSecret(file: KeyFile): Uint8Array {
  return keyHex(file.secretKey, SECRET_KEY_BYTES);
}

function unseal(sealed: NonNullable<KeyFile['sealed']>, passphrase: string | undefined): Uint8Array {
  if (passphrase === undefined || passphrase === '') {
    throw new SwarmError('BAD_KEY', 'the key file is sealed; give its passphrase (MURMUR_PASSPHRASE)');
  }
  const isPowerOfTwo = Number.isInteger(sealed.N) && sealed.N > 1 && (sealed.N & (sealed.N - 1)) === 0;
  if (!isPowerOfTwo || sealed.N > SCRYPT_MAX_N)
    throw new SwarmError('BAD_KEY', 'the key file asks for an odd scrypt cost');
  const box = keyHex(sealed.box, SECRET_KEY_BYTES + nacl.secretbox.overheadLength);
  const nonce = keyHex(sealed.nonce, nacl.secretbox.nonceLength);
  const opened = nacl.secretbox.open(box, nonce, boxKey(passphrase, keyHex(sealed.salt, 16), sealed.N));
  if (opened === null)
    throw new SwarmError(
      'BAD_KEY',
      'wrong passphrase for the key file; give the one that it was made with (MURMUR_PASSPHRASE)',
    );
  return opened;
}
