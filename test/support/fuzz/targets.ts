// Every decoder that meets bytes of strangers, as fuzzing sees it: seeds, limits, codes, and what must hold of what it accepts.

import assert from 'node:assert/strict';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { answerLine } from '../../../node/cli/control.ts';
import { parseModelConfig } from '../../../node/model/config.ts';
import { writeSafetensors } from '../../../node/model/safetensors.ts';
import { createFrameReader, lengthPrefix } from '../../../node/network/frames.ts';
import type { NetworkInbox } from '../../../node/network/inbox.ts';
import { readPayloadHead } from '../../../node/network/payload-head.ts';
import type { Handler, Requests } from '../../../node/network/streams.ts';
import { createSyncServer } from '../../../node/network/sync-server.ts';
import { concatBytes, fromUtf8, utf8 } from '../../../node/protocol/bytes.ts';
import { openEnvelope, sealEnvelope } from '../../../node/protocol/envelope.ts';
import { SwarmError } from '../../../node/protocol/errors.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import {
  ANNOUNCEMENT_MAX_BYTES,
  CONFIG_MAX_BYTES,
  CURSOR_MAX_BYTES,
  PAYLOAD_MAX_BYTES,
  RANGE_MAX_BYTES,
  RECIPE_MAX_BYTES,
} from '../../../node/protocol/limits.ts';
import { networkIdOf } from '../../../node/protocol/network-id.ts';
import type { SignedMessage } from '../../../node/protocol/ports.ts';
import { encodeSyncRequest, packBits, unpackBits } from '../../../node/protocol/streams.ts';
import { MESSAGE_KINDS } from '../../../node/protocol/topics.ts';
import { resolveRecipe } from '../../../recipes/resolve.ts';
import { canonicalRecipe, parseRecipe } from '../../../recipes/schema.ts';
import { rootOfWeights } from '../../../shardcast/weights.ts';
import { decodeProofs, proveCompletion } from '../../../verifier/toploc/completion.ts';
import { MESSAGE_CODECS, type MessageCodec } from '../codecs.ts';
import { fakeClock } from '../fake-clock.ts';
import { randomModel } from '../random-model.ts';
import { madeUpHex, shippedSource } from '../recipe-sources.ts';
import { joined, type Mutator, mutateBytes, mutateProtobuf } from './mutate.ts';
import { jsonMutator } from './mutate-json.ts';
import type { FuzzTarget } from './run.ts';
import { tokenizerFiles } from './tokenizer-target.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** What an error object with its stack weighs, and what the engine's bookkeeping adds now and then. */
const BASE = 2 * MIB;
/** An entry becomes an object: most are the 16 384 hashes of a have request. Bytes are copied a few times over. */
const MESSAGE_ALLOWS = { base: 6 * MIB, factor: 6 };
const SAMPLES = 24;
const WIRE_CODES = ['MALFORMED', 'TOO_LARGE'] as const;
const NETWORK = networkIdOf('fuzz');
const KEY = createKeyPair((count) => new Uint8Array(count).fill(3));

/** The same values in every run. */
function samples<T>(arbitrary: fc.Arbitrary<T>): readonly T[] {
  return fc.sample(arbitrary, { numRuns: SAMPLES, seed: 7 });
}

function message({ name, maxBytes, arbitrary, encode, decode }: MessageCodec): FuzzTarget {
  return {
    name,
    maxBytes,
    allows: MESSAGE_ALLOWS,
    codes: WIRE_CODES,
    mutate: mutateProtobuf,
    seeds: () => samples(arbitrary).map(encode),
    decode,
    accepted(value) {
      // As bytes: NaNs of a body's log-probs are many, and not equal.
      const again = encode(value);
      assert.deepEqual(encode(decode(again)), again);
      // What is shown as a date has to be one.
      const { timeMs } = value as { readonly timeMs?: number };
      if (timeMs !== undefined) new Date(timeMs).toISOString();
    },
  };
}

const envelope: FuzzTarget = {
  name: 'envelope',
  maxBytes: ANNOUNCEMENT_MAX_BYTES,
  allows: MESSAGE_ALLOWS,
  codes: [...WIRE_CODES, 'BAD_SIGNATURE', 'WRONG_NETWORK', 'UNSUPPORTED_VERSION'],
  // An eighth of the children is signed again: the payload is hostile, the signature is good.
  mutate(pick, parent, other, maxBytes) {
    const child = mutateProtobuf(pick, parent, other, maxBytes);
    if (pick(8) > 0 || child.length > PAYLOAD_MAX_BYTES) return child;
    return sealEnvelope(MESSAGE_KINDS[pick(MESSAGE_KINDS.length)]!, child, KEY, NETWORK);
  },
  seeds: () =>
    MESSAGE_CODECS.slice(0, 4).flatMap(({ arbitrary, encode }) =>
      samples(arbitrary)
        .slice(0, 6)
        .map((value) => sealEnvelope('group', encode(value), KEY, NETWORK)),
    ),
  decode(bytes) {
    const opened = openEnvelope(bytes, NETWORK);
    if (opened.ok) return opened.message;
    assert.ok(opened.answer.answer !== 'accept');
    return opened.answer.code;
  },
  // One signed thing has one encoding.
  accepted(value, bytes) {
    const { kind, payload } = value as SignedMessage;
    assert.deepEqual(sealEnvelope(kind, payload, KEY, NETWORK), bytes);
  },
};

const payloadHead: FuzzTarget = {
  name: 'payload head',
  maxBytes: PAYLOAD_MAX_BYTES,
  allows: MESSAGE_ALLOWS,
  codes: WIRE_CODES,
  mutate: mutateProtobuf,
  seeds: () => samples(MESSAGE_CODECS[0]!.arbitrary).map(MESSAGE_CODECS[0]!.encode),
  decode: (bytes) => readPayloadHead(bytes) ?? 'MALFORMED',
};

/** Chunks of sizes that the bytes themselves choose. */
function readInChunks(bytes: Uint8Array): Uint8Array | null {
  const read = createFrameReader(RANGE_MAX_BYTES);
  let whole: Uint8Array | null = null;
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + ((bytes[at]! * 31 + at) % 5_000);
    whole = read(bytes.subarray(at, at + size)) ?? whole;
    at += size;
  }
  return whole;
}

const frame: FuzzTarget = {
  name: 'stream frame',
  maxBytes: RANGE_MAX_BYTES,
  allows: { base: BASE, factor: 8 },
  codes: [...WIRE_CODES, 'STREAM_ENDED'],
  mutate: mutateBytes,
  seeds: () =>
    [0, 1, 127, 128, 300, 20_000].map((length) => concatBytes(lengthPrefix(length), new Uint8Array(length).fill(9))),
  decode: (bytes) => readInChunks(bytes) ?? 'STREAM_ENDED',
  accepted: (value) => assert.ok((value as Uint8Array).length <= RANGE_MAX_BYTES),
};

const haveBits: FuzzTarget = {
  name: 'have bits',
  maxBytes: 2 * KIB,
  allows: { base: BASE, factor: 200 },
  codes: WIRE_CODES,
  mutate: mutateBytes,
  seeds: () => [packBits(new Array<boolean>(100).fill(true)), packBits([false])],
  decode: (bytes) => unpackBits(bytes, 100),
};

/** The handler that a sync server registers, on an inbox that holds nothing. */
function syncHandler(): Handler {
  const handlers: Handler[] = [];
  const inbox = {
    followed: () => [madeUpHex('followed')],
    storedFrom: async function* () {},
  } as unknown as NetworkInbox;
  const requests: Requests = {
    serve: async (_protocol: string, handler: Handler) => void handlers.push(handler),
    ask: async () => Promise.reject(new SwarmError('INTERNAL', 'asks nobody')),
  };
  void createSyncServer({ requests, inbox, clock: fakeClock() }, { floorStep: () => 3 }).start();
  return handlers[0]!;
}

function syncRequest(): FuzzTarget {
  const answer = syncHandler();
  const cursors = ['', '0.0', '1.2.3.4', '0.0.0.9007199254740991'].map(utf8);
  const recipeIds = [null, new Uint8Array(Buffer.from(madeUpHex('followed'), 'hex')), new Uint8Array(32)];
  return {
    name: 'sync request, answered',
    maxBytes: CURSOR_MAX_BYTES + 64,
    allows: MESSAGE_ALLOWS,
    codes: WIRE_CODES,
    mutate: mutateProtobuf,
    seeds: () => cursors.flatMap((cursor) => recipeIds.map((recipeId) => encodeSyncRequest({ recipeId, cursor }))),
    decode: (bytes) => answer(bytes, 'peer', AbortSignal.abort()),
  };
}

const recipe: FuzzTarget = {
  name: 'recipe',
  maxBytes: RECIPE_MAX_BYTES,
  allows: { base: 16 * MIB, factor: 1_500 },
  codes: ['RECIPE_INVALID', 'RECIPE_TOO_LARGE', 'RECIPE_UNKNOWN_TASK', 'RECIPE_UNKNOWN_REWARD'],
  mutate: jsonMutator(canonicalize),
  seeds: () => [
    ...(['arrows', 'sums', 'sorting'] as const).map((name) => canonicalRecipe(shippedSource(name))),
    canonicalRecipe(shippedSource('sums', { tasks: [{ rows: [{ prompt: '1+1=', answer: '2' }] }], groupSize: 2 })),
  ],
  decode(bytes) {
    const resolved = resolveRecipe(parseRecipe(bytes));
    const { problem } = resolved.problemFor(new Uint8Array(32));
    resolved.score(problem, 'a completion: 7');
    return resolved;
  },
};

const config: FuzzTarget = {
  name: 'model config',
  maxBytes: CONFIG_MAX_BYTES,
  allows: { base: BASE, factor: 200 },
  codes: ['UNSUPPORTED_MODEL', 'MALFORMED'],
  mutate: jsonMutator(),
  seeds: () => [utf8(randomModel().configJson), utf8(randomModel({ tiedHead: false, attentionBias: true }).configJson)],
  decode(bytes) {
    let json: unknown;
    try {
      json = JSON.parse(fromUtf8(bytes));
    } catch {
      return 'MALFORMED';
    }
    return parseModelConfig(json);
  },
};

/** The header's JSON damaged under a length that is right, or bytes damaged anywhere. */
const mutateShard: Mutator = (pick, parent, other, maxBytes) => {
  const length = parent.length < 8 ? 0 : Number(new DataView(parent.buffer, parent.byteOffset).getBigUint64(0, true));
  if (pick(2) === 0 || 8 + length > parent.length) return mutateBytes(pick, parent, other, maxBytes);
  const header = mutateHeader(pick, parent.subarray(8, 8 + length), parent.subarray(8, 8 + length), maxBytes);
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(header.length), true);
  return joined(prefix, header, parent.subarray(8 + length));
};
const mutateHeader = jsonMutator();

function shard(): FuzzTarget {
  const model = randomModel({ layers: 1, hiddenSize: 4, intermediateSize: 4, headDim: 2, heads: 2, vocabSize: 8 });
  return {
    name: 'shard (weights)',
    maxBytes: 64 * KIB,
    allows: { base: BASE, factor: 200 },
    codes: ['MODEL_FILE_CORRUPT', 'MODEL_TENSOR_MISMATCH', 'NON_FINITE_WEIGHT', 'UNSUPPORTED_MODEL'],
    mutate: mutateShard,
    seeds: () => [writeSafetensors(model.weights, 'BF16'), writeSafetensors(model.weights, 'F32')],
    decode: (bytes) => rootOfWeights(bytes, model.config),
  };
}

const PROOF_TOKENS = 70;
const PROOF_WIDTH = 16;

const proofs: FuzzTarget = {
  name: 'proofs',
  maxBytes: 4 * KIB,
  allows: { base: BASE, factor: 50 },
  codes: ['length', 'modulus', 'coefficient', 'count'],
  mutate: mutateBytes,
  seeds: () => {
    const hidden = Uint16Array.from({ length: (PROOF_TOKENS - 1) * PROOF_WIDTH }, (_, i) => (i * 2_654_435) % 0x7f80);
    return [new Uint8Array(proveCompletion(hidden, PROOF_WIDTH))];
  },
  decode(bytes) {
    const read = decodeProofs(bytes, PROOF_TOKENS, PROOF_WIDTH);
    return 'problem' in read ? read.problem : read;
  },
};

const CONTROL_HANDLERS = {
  echo: async (params: unknown) => params,
  refuses: async () => Promise.reject(new SwarmError('NOT_FOUND', 'no such thing')),
};

const control: FuzzTarget = {
  name: 'control line',
  maxBytes: 256 * KIB,
  allows: { base: 4 * MIB, factor: 200 },
  codes: ['CONTROL_FAILED', 'NOT_FOUND'],
  mutate: jsonMutator(),
  seeds: () =>
    [{ method: 'echo', params: { recipe: 'arrows', limit: 5 } }, { method: 'refuses' }, { method: 7, params: [] }].map(
      (request) => utf8(JSON.stringify(request)),
    ),
  async decode(bytes) {
    const line = await answerLine(Buffer.from(bytes).toString(), CONTROL_HANDLERS);
    assert.ok(!line.includes('\n'), 'one line');
    const reply = JSON.parse(line) as { readonly ok: boolean; readonly error?: { readonly code: string } };
    return reply.ok ? reply : reply.error?.code;
  },
  accepted: (value) => assert.equal((value as { readonly ok: unknown }).ok, true),
};

/** In the order in which a message meets them. */
export function fuzzTargets(): readonly FuzzTarget[] {
  return [
    frame,
    envelope,
    payloadHead,
    ...MESSAGE_CODECS.map(message),
    haveBits,
    syncRequest(),
    recipe,
    config,
    tokenizerFiles,
    shard(),
    proofs,
    control,
  ];
}
