// Messages made to hurt: too large, amplifying, deeply nested, inconsistent. Each one names the code it must meet.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { decodeBody, encodeBody, type GroupBody, maxBodyBytes } from '../../../node/protocol/body.ts';
import { concatBytes, sha256 } from '../../../node/protocol/bytes.ts';
import type { ErrorCode } from '../../../node/protocol/errors.ts';
import { decodeGroup, encodeGroup, type GroupAnnouncement } from '../../../node/protocol/group.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import { BODY_MAX_BYTES, MAX_GROUP_SIZE, MESSAGE_MAX_FIELDS, RANGE_MAX_BYTES } from '../../../node/protocol/limits.ts';
import { decodeManifest, encodeManifest, type Manifest } from '../../../node/protocol/manifest.ts';
import { BodySchema, GroupSchema, ManifestSchema } from '../../../node/protocol/messages_pb.ts';
import { decodeOffer, encodeOffer, type TrainerOffer } from '../../../node/protocol/offer.ts';
import { encodeRecipeAnnouncement } from '../../../node/protocol/recipe-announcement.ts';
import { decodeSecret, encodeSecret } from '../../../node/protocol/secret.ts';
import {
  decodeHaveRequest,
  decodeSyncAnswer,
  encodeBlobAnswer,
  encodeBlobRequest,
  packBits,
  unpackBits,
} from '../../../node/protocol/streams.ts';
import { decodeVerdict, encodeVerdict, type Verdict } from '../../../node/protocol/verdict.ts';
import { body } from '../../support/arbitrary-messages.ts';

const HASH = sha256('something');
const PEER = createKeyPair((count) => new Uint8Array(count).fill(7)).peerId;

const GROUP: GroupAnnouncement = {
  recipeId: HASH,
  policyStep: 1,
  policyRoot: HASH,
  peerId: PEER,
  slot: 0,
  rewards: [0, 1_000_000],
  lengths: [3, 4],
  bodyHash: HASH,
  bodyBytes: 100,
};

const SEQUENCE: GroupBody['sequences'][number] = {
  tokens: Uint32Array.of(1, 2),
  logprobs: Float32Array.of(-0.5, -1),
  finish: 'eos',
  proofs: new Uint8Array(0),
};
const BODY: GroupBody = { prompt: Uint32Array.of(9), sequences: [SEQUENCE, SEQUENCE] };

const MANIFEST: Manifest = {
  recipeId: HASH,
  policyStep: 1,
  policyRoot: HASH,
  parentRoot: HASH,
  timeMs: 1,
  full: { sizeBytes: 10, shardBytes: 4, shardHashes: [HASH, HASH, HASH] },
  admission: { wantGroups: 1, activePeers: 1 },
  record: null,
  closing: false,
  config: null,
  tokenizer: null,
  tokenizerConfig: null,
};

const OFFER: TrainerOffer = {
  architectures: [],
  maxParameters: 1,
  trainingRecipeIds: [],
  timeMs: 1,
  accepts: 'all',
  initialPolicyRoots: [],
};

const VERDICT: Verdict = {
  recipeId: HASH,
  policyStep: 1,
  groupId: HASH,
  peerId: PEER,
  slot: 0,
  answer: 'accept',
  code: null,
  limits: {
    delta: 1e-4,
    maxLogprobDrift: 1e-3,
    maxMeanLogprobDrift: 1e-4,
    maxExponentMismatches: 90,
    maxMantissaErrorMean: 10,
    maxMantissaErrorMedian: 8,
  },
  secretHash: HASH,
  sequencesReplayed: 1,
};

function refuses(code: ErrorCode, run: () => unknown): void {
  assert.throws(run, { name: 'SwarmError', code });
}

/** With an unknown field behind it, so that it has as many bytes. */
function padded(payload: Uint8Array, bytes: number): Uint8Array {
  const field = new BinaryWriter()
    .tag(1000, WireType.LengthDelimited)
    .bytes(new Uint8Array(bytes - payload.length))
    .finish();
  return concatBytes(payload, field);
}

describe('a group announcement', () => {
  it('must have one length for each reward, and two at least', () => {
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, lengths: [3] }));
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, rewards: [1], lengths: [3] }));
  });

  it('must not claim lengths of 0 or a reward outside the bounds', () => {
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, lengths: [3, 0] }));
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, rewards: [0, 1e12 + 1] }));
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, rewards: [0, 0.5] }));
  });

  it('must be of an Ed25519 peer', () => {
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, peerId: PEER.slice(1) }));
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, peerId: concatBytes(Uint8Array.of(1), PEER.slice(1)) }));
  });

  it('must not claim more tokens than a verifier can hold', () => {
    const lengths = Array.from({ length: 17 }, () => 65_536);
    refuses('MALFORMED', () => encodeGroup({ ...GROUP, rewards: lengths.map(() => 0), lengths }));
  });

  it('is refused by size before it is decoded', () => refuses('TOO_LARGE', () => decodeGroup(new Uint8Array(65_537))));

  it('may carry fields of a later release', () => {
    const later = new BinaryWriter().tag(1000, WireType.Varint).uint32(7).finish();
    assert.deepEqual(decodeGroup(concatBytes(encodeGroup(GROUP), later)), GROUP);
  });

  it('has no more fields than a message of ours may have, and no groups', () => {
    const fields = (count: number): Uint8Array =>
      concatBytes(encodeOffer(OFFER), ...Array.from({ length: count }, () => Uint8Array.of(0x60, 1)));
    // Of six, the empty lists are not written.
    const own = 3;
    assert.deepEqual(decodeOffer(fields(MESSAGE_MAX_FIELDS - own)), OFFER);
    refuses('TOO_LARGE', () => decodeOffer(fields(MESSAGE_MAX_FIELDS - own + 1)));
    refuses('MALFORMED', () => decodeGroup(concatBytes(encodeGroup(GROUP), Uint8Array.of(0x63, 0x64))));
  });

  it('has each field in its own type: one read as another would hide what follows from the count', () => {
    // Policy step, a varint, as bytes that are themselves thousands of fields.
    const hidden = new Uint8Array(2 * MESSAGE_MAX_FIELDS).fill(0x60);
    const confused = new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(hidden).finish();
    refuses('MALFORMED', () => decodeGroup(concatBytes(encodeGroup(GROUP), confused)));
    const number = new BinaryWriter().tag(1, WireType.Varint).uint32(7).finish();
    refuses('MALFORMED', () => decodeGroup(concatBytes(encodeGroup(GROUP), number)));
  });

  it('is no larger than its rollouts let it be, the largest included', () => {
    const rollouts = { rewards: new Array(MAX_GROUP_SIZE).fill(-1e12), lengths: new Array(MAX_GROUP_SIZE).fill(4_096) };
    const largest = { ...GROUP, ...rollouts, policyStep: 2 ** 32 - 1, slot: 2 ** 32 - 1, bodyBytes: BODY_MAX_BYTES };
    assert.deepEqual(decodeGroup(encodeGroup(largest)), largest);
    refuses('TOO_LARGE', () => decodeGroup(padded(encodeGroup(GROUP), 512)));
  });

  it('does not follow nested groups without end', () => {
    // Field 1000 as StartGroup, 20 000 deep: a recursive skip would run out of stack.
    const start = new BinaryWriter().tag(1000, WireType.StartGroup).finish();
    refuses('MALFORMED', () => decodeGroup(concatBytes(...Array.from({ length: 20_000 }, () => start))));
  });

  it('must have whole hashes', () => {
    const wire = toBinary(GroupSchema, create(GroupSchema, { recipeId: new Uint8Array(31) }));
    refuses('MALFORMED', () => decodeGroup(wire));
  });
});

describe('a body', () => {
  it('of millions of empty sequences is refused before an object is made of each', () => {
    const empty = new Uint8Array(BODY_MAX_BYTES);
    for (let i = 0; i < empty.length; i += 2) empty[i] = (2 << 3) | WireType.LengthDelimited;
    const before = process.memoryUsage().heapUsed;
    refuses('MALFORMED', () => decodeBody(empty));
    assert.ok(process.memoryUsage().heapUsed - before < 16 * 2 ** 20, 'heap grew');
  });

  it('with more tokens in all than a group may have is refused before they are allocated', () => {
    // Tokens of one byte each: 16 MiB would become 128 MiB of tokens and log-probs.
    const tokens = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(new Uint8Array(65_536)).finish();
    const finish = Uint8Array.of((3 << 3) | WireType.Varint, 2);
    const sequence = new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(concatBytes(tokens, finish)).finish();
    const hostile = concatBytes(...Array.from({ length: MAX_GROUP_SIZE }, () => sequence));
    const before = process.memoryUsage().arrayBuffers;
    refuses('MALFORMED', () => decodeBody(hostile));
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * 2 ** 20, 'array buffers grew');
  });

  it('has no fields but ours: it is named by its hash, and skipping what is unknown takes time', () => {
    const group = Uint8Array.of((3 << 3) | WireType.StartGroup, 8, 0, (3 << 3) | WireType.EndGroup);
    const varint = Uint8Array.of((5 << 3) | WireType.Varint, 1);
    for (const extra of [group, varint]) refuses('MALFORMED', () => decodeBody(concatBytes(encodeBody(BODY), extra)));
  });

  it('is never larger than the lengths of its completions let it be', () => {
    fc.assert(
      fc.property(body, (made) => {
        const lengths = made.sequences.map(({ tokens }) => tokens.length);
        const proven = made.sequences.map((each, i) => ({
          ...each,
          proofs: new Uint8Array(258 * Math.ceil(lengths[i]! / 32)),
        }));
        const bytes = encodeBody({ ...made, sequences: proven }).length;
        const limit = maxBodyBytes(lengths);
        // The prompt may be as long as any.
        assert.ok(bytes <= limit && limit - 400_000 < bytes);
      }),
    );
    assert.equal(maxBodyBytes(new Array(MAX_GROUP_SIZE).fill(65_536)), BODY_MAX_BYTES);
  });

  it('must have no more sequences on the wire than a group may', () => {
    const sequence = encodeBody(BODY).slice(3);
    const many = concatBytes(encodeBody(BODY), ...Array.from({ length: MAX_GROUP_SIZE / 2 }, () => sequence));
    refuses('MALFORMED', () => decodeBody(many));
  });

  it('with more tokens than allowed is refused before they are allocated', () => {
    const packed = new Uint8Array(70_000);
    refuses('MALFORMED', () => decodeBody(new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(packed).finish()));
  });

  it('must have as many log-probs as tokens', () => {
    const short = { ...SEQUENCE, logprobs: Float32Array.of(-1) };
    refuses('MALFORMED', () => encodeBody({ ...BODY, sequences: [SEQUENCE, short] }));
  });

  it('must have no more sequences than a group may', () => {
    const sequences = Array.from({ length: MAX_GROUP_SIZE + 1 }, () => SEQUENCE);
    refuses('MALFORMED', () => encodeBody({ ...BODY, sequences }));
  });

  it('is what protobuf makes of message Body', () => {
    fc.assert(
      fc.property(body, (each) => {
        const finish = { eos: 1, length: 2 };
        const sequences = each.sequences.map((sequence) => ({
          tokens: Array.from(sequence.tokens),
          logprobs: Array.from(sequence.logprobs),
          finish: finish[sequence.finish],
          proofs: sequence.proofs,
        }));
        const message = create(BodySchema, { prompt: Array.from(each.prompt), sequences });
        assert.deepEqual(encodeBody(each), toBinary(BodySchema, message));
      }),
      { numRuns: 60 },
    );
  });

  it('has no token beyond 32 bits, and no varint cut off', () => {
    const prompt = (...packed: number[]): Uint8Array =>
      new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(Uint8Array.from(packed)).finish();
    const rest = encodeBody(BODY).slice(3);
    const decoded = (...packed: number[]): Uint32Array => decodeBody(concatBytes(prompt(...packed), rest)).prompt;
    assert.deepEqual(decoded(0xff, 0xff, 0xff, 0xff, 0x0f), Uint32Array.of(0xffffffff));
    refuses('MALFORMED', () => decoded(0xff, 0xff, 0xff, 0xff, 0x10));
    refuses('MALFORMED', () => decoded(0x80, 0x80, 0x80, 0x80, 0x80, 0x01));
    refuses('MALFORMED', () => decoded(0x01, 0x80));
  });

  it('has one order of fields', () => {
    const bytes = encodeBody({ ...BODY, sequences: [SEQUENCE, SEQUENCE] });
    const prompt = bytes.slice(0, 3);
    refuses('MALFORMED', () => decodeBody(concatBytes(bytes.slice(3), prompt)));
    refuses('MALFORMED', () => decodeBody(concatBytes(prompt, bytes)));
    // A sequence with its log-probs in two parts.
    const sequence = bytes.slice(5, 5 + bytes[4]!);
    const logprobs = sequence.slice(4, 14);
    const twice = concatBytes(sequence.slice(0, 14), logprobs, sequence.slice(14));
    const parts = concatBytes(
      prompt,
      bytes.slice(3, 4),
      Uint8Array.of(twice.length),
      twice,
      bytes.slice(5 + bytes[4]!),
    );
    assert.deepEqual([...logprobs.slice(0, 2)], [(2 << 3) | WireType.LengthDelimited, 8]);
    refuses('MALFORMED', () => decodeBody(parts));
  });

  it('carries log-probs that are no numbers, for the checks to see', () => {
    const odd = { ...SEQUENCE, logprobs: Float32Array.of(Number.NaN, Number.NEGATIVE_INFINITY) };
    const decoded = decodeBody(encodeBody({ ...BODY, sequences: [odd, SEQUENCE] }));
    assert.deepEqual(decoded.sequences[0]!.logprobs, odd.logprobs);
  });

  it('is refused over its size', () => refuses('TOO_LARGE', () => decodeBody(new Uint8Array(BODY_MAX_BYTES + 1))));
});

describe('a manifest', () => {
  it('has a parent exactly after step 0', () => {
    refuses('MALFORMED', () => encodeManifest({ ...MANIFEST, parentRoot: null }));
    refuses('MALFORMED', () => encodeManifest({ ...MANIFEST, policyStep: 0 }));
  });

  it('has as many shard hashes as its size needs', () => {
    const { full } = MANIFEST;
    refuses('MALFORMED', () => encodeManifest({ ...MANIFEST, full: { ...full, sizeBytes: 8 } }));
    refuses('MALFORMED', () => encodeManifest({ ...MANIFEST, full: { ...full, sizeBytes: 13 } }));
    refuses('MALFORMED', () => encodeManifest({ ...MANIFEST, full: { ...full, shardBytes: 0 } }));
  });

  it('cannot claim sizes beyond the bounds', () => {
    const wire = create(ManifestSchema, {
      recipeId: HASH,
      policyRoot: HASH,
      admission: {},
      full: { sizeBytes: 2n ** 63n, shardBytes: 4, shardHashes: [HASH] },
    });
    refuses('MALFORMED', () => decodeManifest(toBinary(ManifestSchema, wire)));
  });

  it('has a time that a clock can show', () => {
    encodeManifest({ ...MANIFEST, timeMs: 8.64e15 });
    refuses('MALFORMED', () => encodeManifest({ ...MANIFEST, timeMs: 8.64e15 + 1 }));
    refuses('MALFORMED', () => encodeOffer({ ...OFFER, timeMs: 8.64e15 + 1 }));
    const recipe = { hash: HASH, sizeBytes: 1 };
    refuses('MALFORMED', () => encodeRecipeAnnouncement({ recipe, timeMs: 8.64e15 + 1 }));
  });

  it('must say how much work is wanted', () => {
    const wire = create(ManifestSchema, { recipeId: HASH, policyRoot: HASH });
    refuses('MALFORMED', () => decodeManifest(toBinary(ManifestSchema, wire)));
  });
});

describe('a verdict', () => {
  it('has a code exactly when it does not accept', () => {
    refuses('MALFORMED', () => encodeVerdict({ ...VERDICT, code: 'REPLAY_MISMATCH' }));
    refuses('MALFORMED', () => encodeVerdict({ ...VERDICT, answer: 'reject' }));
  });

  it('has finite limits', () => {
    for (const delta of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      refuses('MALFORMED', () => encodeVerdict({ ...VERDICT, limits: { ...VERDICT.limits, delta } }));
    }
  });

  it('has a short note', () => {
    const note = 'x'.repeat(513);
    refuses('MALFORMED', () => encodeVerdict({ ...VERDICT, evidence: { note } }));
  });

  it('is no larger than one with all its numbers and the longest note', () => {
    const numbers = { sequence: 2 ** 32 - 1, position: 2 ** 32 - 1, u: 0.1, x: 0.1, y: 0.2, measured: 0.3, limit: 0.4 };
    const evidence = { ...numbers, note: '\uffff'.repeat(512) };
    const largest: Verdict = { ...VERDICT, answer: 'reject', code: 'SLOT_EQUIVOCATION', evidence, slot: 2 ** 32 - 1 };
    assert.deepEqual(decodeVerdict(encodeVerdict(largest)), largest);
    refuses('TOO_LARGE', () => decodeVerdict(padded(encodeVerdict(VERDICT), 2_048)));
  });
});

describe('a step secret', () => {
  it('that is shown must be the one committed to', () => {
    const secret = sha256('secret');
    const shown = { recipeId: HASH, policyStep: 1, secretHash: sha256(secret), secret };
    assert.deepEqual(decodeSecret(encodeSecret(shown)), shown);
    refuses('MALFORMED', () => encodeSecret({ ...shown, secret: sha256('another') }));
    refuses('TOO_LARGE', () => decodeSecret(padded(encodeSecret(shown), 256)));
  });
});

describe('stream messages', () => {
  it('ask for ranges of 1 byte to 1 MiB', () => {
    refuses('MALFORMED', () => encodeBlobRequest({ hash: HASH, offset: 0, length: RANGE_MAX_BYTES + 1 }));
    refuses('MALFORMED', () => encodeBlobRequest({ hash: HASH, offset: 0, length: 0 }));
    refuses('MALFORMED', () => encodeBlobRequest({ hash: HASH, offset: -1, length: 1 }));
    const data = new Uint8Array(RANGE_MAX_BYTES + 1);
    refuses('TOO_LARGE', () => encodeBlobAnswer({ status: 'ok', sizeBytes: data.length, data }));
  });

  it('hold no more entries than their size is good for', () => {
    const empty = (field: number): Uint8Array =>
      concatBytes(...Array.from({ length: 20_000 }, () => Uint8Array.of((field << 3) | 2, 0)));
    refuses('TOO_LARGE', () => decodeSyncAnswer(empty(2)));
    refuses('TOO_LARGE', () => decodeHaveRequest(empty(1)));
  });

  it('pack flags least significant bit first', () => {
    const flags = [true, false, false, true, false, false, false, false, true];
    assert.deepEqual(packBits(flags), Uint8Array.of(0b1001, 0b1));
    assert.deepEqual(unpackBits(packBits(flags), 9), flags);
    refuses('MALFORMED', () => unpackBits(Uint8Array.of(1), 9));
  });
});
