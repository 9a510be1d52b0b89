// The one wrapper of everything signed. Source: spec/wire.md "Signed things".
// Invariants: the signature covers the payload as received, never re-encoded; an envelope has one encoding only, so
// nobody can flood gossip with variants of one signed thing; opening answers, it does not throw.
//
// An id is H(payload) and payloads may be copied: two signers can make messages of equal id. Whatever remembers
// messages of other peers must key them by messageKey (id and signer).

import { create, toBinary } from '@bufbuild/protobuf';
import { concatBytes, equalBytes, plainBytes, sha256, toHex, utf8 } from './bytes.ts';
import { type CheckAnswer, ignore, reject } from './check.ts';
import { decodeMessage } from './codec.ts';
import { SwarmError } from './errors.ts';
import { type KeyPair, PUBLIC_KEY_BYTES, peerIdOfPublicKey, peerIdStringOf } from './keys.ts';
import { ANNOUNCEMENT_MAX_BYTES, PAYLOAD_MAX_BYTES, PROTOCOL_VERSION } from './limits.ts';
import { type Envelope, EnvelopeSchema } from './messages_pb.ts';
import type { MessageKind, MessageRef, SignedMessage } from './ports.ts';
import { SIGNATURE_BYTES, signMessage, type Verify, verifySignature } from './signing.ts';
import { isMessageKind } from './topics.ts';

export type OpenedEnvelope =
  | { readonly ok: true; readonly message: SignedMessage }
  | { readonly ok: false; readonly answer: CheckAnswer };

function signedBytes(kind: MessageKind, networkId: Uint8Array, payload: Uint8Array): Uint8Array {
  return concatBytes(utf8(`murmuration/${kind}/1`), networkId, payload);
}

/**
 * Signs a payload.
 * @param networkId 32 bytes, see networkIdOf
 * @returns the envelope's bytes, at most 64 KiB
 * @throws {SwarmError} TOO_LARGE
 */
export function sealEnvelope(
  kind: MessageKind,
  payload: Uint8Array,
  keyPair: KeyPair,
  networkId: Uint8Array,
): Uint8Array {
  if (payload.length > PAYLOAD_MAX_BYTES) {
    throw new SwarmError('TOO_LARGE', `a ${kind} has at most ${PAYLOAD_MAX_BYTES} bytes, got ${payload.length}`, {
      kind,
      bytes: payload.length,
    });
  }
  const signature = signMessage(keyPair.secretKey, signedBytes(kind, networkId, payload));
  const { publicKey } = keyPair;
  return toBinary(
    EnvelopeSchema,
    create(EnvelopeSchema, { kind, version: PROTOCOL_VERSION, networkId, publicKey, payload, signature }),
  );
}

/**
 * Checks a signed thing's envelope; the payload stays encoded.
 * @param networkId ours, 32 bytes
 * @param verify a verifier of createVerifier saves parsing keys again
 * @param isWelcome asked of the key that the message claims, before its signature is looked at (five sixths of the time, measured)
 * @returns the message, or `reject` for size, decoding, signature; `ignore` for another network, version or kind, and for a signer that is not welcome
 */
export function openEnvelope(
  bytes: Uint8Array,
  networkId: Uint8Array,
  verify: Verify = verifySignature,
  isWelcome: (publicKey: Uint8Array) => boolean = () => true,
): OpenedEnvelope {
  if (bytes.length > ANNOUNCEMENT_MAX_BYTES) {
    return refused(reject('TOO_LARGE', { measured: bytes.length, limit: ANNOUNCEMENT_MAX_BYTES }));
  }
  let envelope: Envelope;
  try {
    envelope = decodeMessage(EnvelopeSchema, 'envelope', bytes, ANNOUNCEMENT_MAX_BYTES);
  } catch {
    return refused(reject('MALFORMED'));
  }
  const { kind, version, publicKey, payload, signature } = envelope;
  // [IGNORE] another version: what follows may mean something else there
  if (version !== PROTOCOL_VERSION) return refused(ignore('UNSUPPORTED_VERSION', { measured: version }));
  // [IGNORE] another network: topics should have kept it away
  if (!equalBytes(envelope.networkId, networkId)) return refused(ignore('WRONG_NETWORK'));
  // [IGNORE] a kind of a later release
  if (!isMessageKind(kind)) return refused(ignore('UNSUPPORTED_VERSION'));
  // [REJECT] fields of wrong length, or any encoding but the one that sealEnvelope writes
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) {
    return refused(reject('MALFORMED'));
  }
  if (!equalBytes(toBinary(EnvelopeSchema, envelope), bytes)) return refused(reject('MALFORMED'));
  // [IGNORE] its signer has said too much lately, if it is his at all
  if (!isWelcome(publicKey)) return refused(ignore('RATE_LIMITED'));
  // [REJECT] signature
  if (!verify(publicKey, signedBytes(kind, networkId, payload), signature)) return refused(reject('BAD_SIGNATURE'));
  return { ok: true, message: signedMessage(kind, envelope, bytes) };
}

function refused(answer: CheckAnswer): OpenedEnvelope {
  return { ok: false, answer };
}

function signedMessage(kind: MessageKind, envelope: Envelope, bytes: Uint8Array): SignedMessage {
  const id = sha256(envelope.payload);
  const publicKey = envelope.publicKey.slice();
  const peerId = peerIdOfPublicKey(publicKey);
  return {
    kind,
    id,
    idHex: toHex(id),
    publicKey,
    peerId,
    peerIdString: peerIdStringOf(peerId),
    payload: envelope.payload,
    envelope: plainBytes(bytes),
  };
}

/** Names a message among those of all signers. */
export function messageKey(message: MessageRef): string {
  return `${message.idHex}.${message.peerIdString}`;
}
