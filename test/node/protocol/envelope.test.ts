// Envelopes: what was sealed opens, and every other sequence of bytes is refused with a code.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { concatBytes, sha256, toHex, utf8 } from '../../../node/protocol/bytes.ts';
import { messageKey, type OpenedEnvelope, openEnvelope, sealEnvelope } from '../../../node/protocol/envelope.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import { ANNOUNCEMENT_MAX_BYTES, PAYLOAD_MAX_BYTES } from '../../../node/protocol/limits.ts';
import { EnvelopeSchema } from '../../../node/protocol/messages_pb.ts';
import { networkIdOf } from '../../../node/protocol/network-id.ts';
import { signMessage } from '../../../node/protocol/signing.ts';
import { MESSAGE_KINDS } from '../../../node/protocol/topics.ts';

const keyPair = createKeyPair((count) => new Uint8Array(count).fill(8));
const networkId = networkIdOf('main');
const payload = utf8('a payload');

/** An envelope with some fields changed after signing, or before when `resign`. */
function altered(fields: object, resign = false): Uint8Array {
  const kind = 'kind' in fields ? String(fields.kind) : 'group';
  const signed = concatBytes(utf8(`murmuration/${resign ? kind : 'group'}/1`), networkId, payload);
  const message = {
    kind: 'group',
    version: 1,
    networkId,
    publicKey: keyPair.publicKey,
    payload,
    signature: signMessage(keyPair.secretKey, signed),
    ...fields,
  };
  return toBinary(EnvelopeSchema, create(EnvelopeSchema, message));
}

function answerOf(opened: OpenedEnvelope): string {
  if (opened.ok) return 'opened';
  const { answer } = opened;
  return answer.answer === 'accept' ? 'accept' : `${answer.answer} ${answer.code}`;
}

describe('an envelope', () => {
  it('of each kind opens to what was sealed', () => {
    for (const kind of MESSAGE_KINDS) {
      const bytes = sealEnvelope(kind, payload, keyPair, networkId);
      const opened = openEnvelope(bytes, networkId);
      assert.ok(opened.ok);
      assert.deepEqual(opened.message, {
        kind,
        id: sha256(payload),
        idHex: toHex(sha256(payload)),
        publicKey: keyPair.publicKey,
        peerId: keyPair.peerId,
        peerIdString: keyPair.peerIdString,
        payload,
        envelope: bytes,
      });
    }
  });

  it('opens from a Buffer to plain byte arrays', () => {
    const opened = openEnvelope(Buffer.from(sealEnvelope('group', payload, keyPair, networkId)), networkId);
    assert.ok(opened.ok);
    assert.equal(Object.getPrototypeOf(opened.message.payload), Uint8Array.prototype);
    assert.equal(Object.getPrototypeOf(opened.message.envelope), Uint8Array.prototype);
  });

  it('of a payload as large as allowed fits a gossip frame; a larger one is not sealed', () => {
    const bytes = sealEnvelope('manifest', new Uint8Array(PAYLOAD_MAX_BYTES), keyPair, networkId);
    assert.ok(bytes.length <= ANNOUNCEMENT_MAX_BYTES);
    assert.equal(answerOf(openEnvelope(bytes, networkId)), 'opened');
    assert.throws(() => sealEnvelope('manifest', new Uint8Array(PAYLOAD_MAX_BYTES + 1), keyPair, networkId), {
      code: 'TOO_LARGE',
    });
  });

  it('is rejected for size, decoding and signature', () => {
    assert.equal(answerOf(openEnvelope(new Uint8Array(ANNOUNCEMENT_MAX_BYTES + 1), networkId)), 'reject TOO_LARGE');
    assert.equal(answerOf(openEnvelope(Uint8Array.of(0xff, 0xff), networkId)), 'reject MALFORMED');
    assert.equal(answerOf(openEnvelope(altered({}), networkId)), 'opened');
    assert.equal(answerOf(openEnvelope(altered({ payload: utf8('other') }), networkId)), 'reject BAD_SIGNATURE');
    assert.equal(answerOf(openEnvelope(altered({ kind: 'verdict' }), networkId)), 'reject BAD_SIGNATURE');
    assert.equal(
      answerOf(openEnvelope(altered({ publicKey: createKeyPair().publicKey }), networkId)),
      'reject BAD_SIGNATURE',
    );
    assert.equal(answerOf(openEnvelope(altered({ publicKey: new Uint8Array(31) }), networkId)), 'reject MALFORMED');
    assert.equal(answerOf(openEnvelope(altered({ signature: new Uint8Array(63) }), networkId)), 'reject MALFORMED');
  });

  it('is ignored for another network, version or kind: that is nobody’s fault', () => {
    assert.equal(answerOf(openEnvelope(altered({}), networkIdOf('other'))), 'ignore WRONG_NETWORK');
    assert.equal(answerOf(openEnvelope(altered({ version: 2 }), networkId)), 'ignore UNSUPPORTED_VERSION');
    assert.equal(answerOf(openEnvelope(altered({ version: 0 }), networkId)), 'ignore UNSUPPORTED_VERSION');
    assert.equal(answerOf(openEnvelope(altered({ kind: 'tomorrow' }, true), networkId)), 'ignore UNSUPPORTED_VERSION');
    assert.equal(answerOf(openEnvelope(altered({ kind: 'toString' }, true), networkId)), 'ignore UNSUPPORTED_VERSION');
  });

  it('is ignored, its signature not looked at, when the key that it claims is not welcome', () => {
    const envelope = sealEnvelope('group', payload, keyPair, networkId);
    const asked: Uint8Array[] = [];
    const opening = openEnvelope(
      envelope,
      networkId,
      () => assert.fail(),
      (publicKey) => {
        asked.push(publicKey);
        return false;
      },
    );
    assert.equal(answerOf(opening), 'ignore RATE_LIMITED');
    assert.deepEqual(asked, [keyPair.publicKey]);
  });

  it('has one encoding: variants of one signed thing do not pass', () => {
    const bytes = sealEnvelope('group', payload, keyPair, networkId);
    const unknown = new BinaryWriter().tag(99, WireType.Varint).uint32(1).finish();
    const repeated = new BinaryWriter().tag(1, WireType.LengthDelimited).string('group').finish();
    for (const extra of [unknown, repeated]) {
      assert.equal(answerOf(openEnvelope(concatBytes(bytes, extra), networkId)), 'reject MALFORMED');
      assert.equal(answerOf(openEnvelope(concatBytes(extra, bytes), networkId)), 'reject MALFORMED');
    }
  });

  it('of a copied payload has the same id, but another key among messages', () => {
    const copier = createKeyPair();
    const [first, second] = [keyPair, copier].map((pair) => {
      const opened = openEnvelope(sealEnvelope('verdict', payload, pair, networkId), networkId);
      assert.ok(opened.ok);
      return opened.message;
    });
    assert.equal(first!.idHex, second!.idHex);
    assert.notEqual(messageKey(first!), messageKey(second!));
  });
});
