// A liar sends envelopes that nobody signed, or others signed, or whose signature was bent. Opened they are refused with a code;
// on the wire they are stored by nobody, told to nobody, and end in a ban of whoever sends them.

import assert from 'node:assert/strict';
import { createECDH, generateKeyPairSync } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { utf8 } from '../../node/protocol/bytes.ts';
import { openEnvelope, sealEnvelope } from '../../node/protocol/envelope.ts';
import { createKeyPair, type KeyPair } from '../../node/protocol/keys.ts';
import { type Envelope, EnvelopeSchema } from '../../node/protocol/messages_pb.ts';
import { networkIdOf } from '../../node/protocol/network-id.ts';
import { signMessage } from '../../node/protocol/signing.ts';
import { all, createSwarm, groupPayload, RECIPE } from '../node/network/support.ts';
import { until } from '../support/until.ts';

const NETWORK = networkIdOf('test');
const PAYLOAD = groupPayload(1);
/** Order of the group of Ed25519 (RFC 8032 §5.1). */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

type Fields = Pick<Envelope, 'kind' | 'publicKey' | 'payload' | 'signature'>;

function signedBy({ secretKey }: KeyPair, { kind, payload }: Pick<Fields, 'kind' | 'payload'>): Uint8Array {
  return signMessage(secretKey, Buffer.concat([utf8(`murmuration/${kind}/1`), NETWORK, payload]));
}

/** S + L in place of S: valid where verifying does not ask for the smallest. */
function malleated(signature: Uint8Array): Uint8Array {
  const bent = signature.slice();
  let s = signature.subarray(32).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n) + L;
  for (let i = 32; i < 64; i++, s >>= 8n) bent[i] = Number(s & 0xffn);
  return bent;
}

interface Lie {
  readonly name: string;
  readonly change: (honest: Fields, liar: KeyPair) => Partial<Fields>;
  readonly code: 'MALFORMED' | 'BAD_SIGNATURE';
}

const LIES: readonly Lie[] = [
  { name: 'unsigned', change: () => ({ signature: new Uint8Array(0) }), code: 'MALFORMED' },
  { name: 'signed with zeros', change: () => ({ signature: new Uint8Array(64) }), code: 'BAD_SIGNATURE' },
  { name: 'malleated', change: ({ signature }) => ({ signature: malleated(signature) }), code: 'BAD_SIGNATURE' },
  { name: 'half a signature', change: ({ signature }) => ({ signature: signature.slice(0, 32) }), code: 'MALFORMED' },
  {
    name: "signed by the liar, under another's key",
    change: ({ kind, payload }, liar) => ({ signature: signedBy(liar, { kind, payload }) }),
    code: 'BAD_SIGNATURE',
  },
  { name: 'under another key', change: (_, liar) => ({ publicKey: liar.publicKey }), code: 'BAD_SIGNATURE' },
  {
    name: 'under a secp256k1 key',
    change() {
      const key = createECDH('secp256k1');
      key.generateKeys();
      return { publicKey: key.getPublicKey(null, 'compressed') };
    },
    code: 'MALFORMED',
  },
  {
    name: 'under an RSA key',
    change() {
      const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
      return { publicKey: publicKey.export({ type: 'spki', format: 'der' }) };
    },
    code: 'MALFORMED',
  },
  {
    name: 'under a key of small order, which fits many messages',
    change: () => ({
      publicKey: Uint8Array.of(1, ...new Uint8Array(31)),
      signature: Uint8Array.of(1, ...new Uint8Array(63)),
    }),
    code: 'BAD_SIGNATURE',
  },
  { name: 'of another payload', change: () => ({ payload: groupPayload(2) }), code: 'BAD_SIGNATURE' },
  { name: 'of another kind', change: () => ({ kind: 'verdict' }), code: 'BAD_SIGNATURE' },
];

/** An honest envelope with what the lie changes. */
function lieOf({ change }: Lie, liar: KeyPair): Uint8Array {
  const victim = createKeyPair();
  const kind = 'group';
  const honest: Fields = {
    kind,
    publicKey: victim.publicKey,
    payload: PAYLOAD,
    signature: signedBy(victim, { kind, payload: PAYLOAD }),
  };
  const fields = { version: 1, networkId: NETWORK, ...honest, ...change(honest, liar) };
  return toBinary(EnvelopeSchema, create(EnvelopeSchema, fields));
}

describe('an envelope', () => {
  for (const lie of LIES) {
    it(`${lie.name}: ${lie.code}`, () => {
      const opened = openEnvelope(lieOf(lie, createKeyPair()), NETWORK);
      assert.ok(!opened.ok && opened.answer.answer === 'reject');
      assert.equal(opened.answer.code, lie.code);
    });
  }

  it('as its author signed it opens', () => {
    assert.ok(openEnvelope(sealEnvelope('group', PAYLOAD, createKeyPair(), NETWORK), NETWORK).ok);
  });
});

describe('on the wire', { timeout: 30_000 }, () => {
  const swarm = createSwarm();
  after(() => swarm.close());

  it('forged envelopes ban who sends them and reach nobody; an honest one does', async () => {
    const judge = await swarm.node({ follow: [RECIPE] });
    const bootstrap = [judge.host.addresses()[0]!];
    const liar = await swarm.node({ bootstrap });
    const honest = await swarm.node({ bootstrap, follow: [RECIPE] });
    const topic = `/murmuration/test/${RECIPE}/groups/1`;
    const heard: string[] = [];
    for (const node of [judge, honest]) node.inbox.on('group', ({ peerIdString }) => heard.push(peerIdString));
    await until(() => liar.host.gossip.getSubscribers(topic).length > 0, 'subscribed');
    for (const lie of LIES) await liar.host.gossip.publish(topic, lieOf(lie, liar.keyPair)).catch(() => undefined);
    await until(() => judge.host.standing.isBanned(liar.host.peerId), 'the liar is banned');
    await honest.inbox.publish('group', PAYLOAD, RECIPE);
    await until(() => heard.length === 2, 'the honest one is heard');
    assert.deepEqual(new Set(heard), new Set([honest.keyPair.peerIdString]));
    assert.equal((await all(judge.inbox.stored('group', RECIPE))).length, 1);
    // What came behind the one that banned is passed over.
    const { RATE_LIMITED: _, ...counts } = judge.inbox.ignoredCounts();
    assert.deepEqual(Object.keys(counts).toSorted(), ['BAD_SIGNATURE', 'MALFORMED']);
  });
});
