// Random well-formed messages for property tests. (Damage to their bytes: fuzz/mutate.ts.)

import fc from 'fast-check';
import type { BlobRef } from '../../node/protocol/blob-ref.ts';
import type { GroupBody } from '../../node/protocol/body.ts';
import type { CheckCode, Evidence } from '../../node/protocol/check.ts';
import type { GroupAnnouncement } from '../../node/protocol/group.ts';
import { peerIdOfPublicKey } from '../../node/protocol/keys.ts';
import { CONFIG_MAX_BYTES, MAX_REWARD_MILLIONTHS, MAX_TIME_MS } from '../../node/protocol/limits.ts';
import type { Manifest } from '../../node/protocol/manifest.ts';
import type { TrainerOffer } from '../../node/protocol/offer.ts';
import type { Verdict } from '../../node/protocol/verdict.ts';

/** fc.record, as plain objects only: deepEqual tells prototypes apart. */
export function record<T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

export const hash32: fc.Arbitrary<Uint8Array> = fc.uint8Array({ minLength: 32, maxLength: 32 });
export const peerId: fc.Arbitrary<Uint8Array> = hash32.map((publicKey) => peerIdOfPublicKey(publicKey));
export const u32: fc.Arbitrary<number> = fc.integer({ min: 0, max: 0xffffffff });
export const timeMs: fc.Arbitrary<number> = fc.integer({ min: 0, max: MAX_TIME_MS });

const reward = fc.integer({ min: -MAX_REWARD_MILLIONTHS, max: MAX_REWARD_MILLIONTHS });
const blobRef: fc.Arbitrary<BlobRef> = record({ hash: hash32, sizeBytes: fc.nat(CONFIG_MAX_BYTES) });
const optionalBlob = fc.option(blobRef, { nil: null });

export const group: fc.Arbitrary<GroupAnnouncement> = fc
  .array(fc.tuple(reward, fc.integer({ min: 1, max: 4096 })), { minLength: 2, maxLength: 64 })
  .chain((rollouts) =>
    record({
      recipeId: hash32,
      policyStep: u32,
      policyRoot: hash32,
      peerId,
      slot: u32,
      rewards: fc.constant(rollouts.map(([each]) => each)),
      lengths: fc.constant(rollouts.map(([, length]) => length)),
      bodyHash: hash32,
      bodyBytes: fc.integer({ min: 1, max: 2 ** 25 }),
    }),
  );

const sequence = fc.array(fc.tuple(u32, fc.float()), { minLength: 1, maxLength: 40 }).chain((tokens) =>
  record({
    tokens: fc.constant(Uint32Array.from(tokens, ([token]) => token)),
    logprobs: fc.constant(Float32Array.from(tokens, ([, logprob]) => logprob)),
    finish: fc.constantFrom('eos' as const, 'length' as const),
    proofs: fc.uint8Array({ maxLength: 600 }),
  }),
);

export const body: fc.Arbitrary<GroupBody> = record({
  prompt: fc.array(u32, { minLength: 1, maxLength: 50 }).map((tokens) => Uint32Array.from(tokens)),
  sequences: fc.array(sequence, { minLength: 2, maxLength: 8 }),
});

const limit = fc.double({ min: 0, max: 1e9, noNaN: true }).filter((value) => !Object.is(value, -0));
const evidence: fc.Arbitrary<Evidence> = fc.record(
  {
    sequence: u32,
    position: u32,
    u: fc.double(),
    x: fc.double(),
    y: fc.double(),
    measured: fc.double(),
    limit: fc.double(),
    note: fc.string({ unit: 'grapheme', maxLength: 40 }),
  },
  { requiredKeys: [], noNullPrototype: true },
);
const answered = fc.oneof(
  fc.constant({ answer: 'accept' as const, code: null }),
  record({
    answer: fc.constantFrom('ignore' as const, 'reject' as const),
    code: fc.constantFrom<CheckCode>('REPLAY_MISMATCH', 'BORDERLINE', 'REWARD_MISMATCH', 'BODY_MISSING'),
  }),
);

export const verdict: fc.Arbitrary<Verdict> = fc
  .tuple(
    answered,
    fc.option(evidence, { nil: undefined }),
    record({
      recipeId: hash32,
      policyStep: u32,
      groupId: hash32,
      peerId,
      slot: u32,
      limits: record({
        delta: limit,
        maxLogprobDrift: limit,
        maxMeanLogprobDrift: limit,
        maxExponentMismatches: u32,
        maxMantissaErrorMean: limit,
        maxMantissaErrorMedian: limit,
      }),
      secretHash: hash32,
      sequencesReplayed: fc.nat(64),
    }),
  )
  .map(([answer, found, rest]) => ({ ...rest, ...answer, ...(found === undefined ? {} : { evidence: found }) }));

const full = fc
  .tuple(fc.integer({ min: 1, max: 1000 }), fc.array(hash32, { minLength: 1, maxLength: 20 }), fc.nat(999))
  .map(([shardBytes, shardHashes, rest]) => ({
    shardBytes,
    shardHashes,
    sizeBytes: shardBytes * (shardHashes.length - 1) + 1 + (rest % shardBytes),
  }));

export const manifest: fc.Arbitrary<Manifest> = fc.oneof(fc.constant(0), u32).chain((policyStep) =>
  record({
    recipeId: hash32,
    policyStep: fc.constant(policyStep),
    policyRoot: hash32,
    parentRoot: policyStep === 0 ? fc.constant(null) : hash32,
    timeMs,
    full,
    admission: record({ wantGroups: u32, activePeers: u32 }),
    record: fc.option(
      record({
        consumed: optionalBlob,
        optimizerStateHash: fc.option(hash32, { nil: null }),
        notConsumed: optionalBlob,
      }),
      { nil: null },
    ),
    closing: fc.boolean(),
    config: optionalBlob,
    tokenizer: optionalBlob,
    tokenizerConfig: optionalBlob,
  }),
);

export const offer: fc.Arbitrary<TrainerOffer> = record({
  architectures: fc.array(fc.string({ maxLength: 30 }), { maxLength: 4 }),
  maxParameters: fc.maxSafeNat(),
  trainingRecipeIds: fc.array(hash32, { maxLength: 4 }),
  timeMs,
  accepts: fc.constantFrom('author' as const, 'all' as const, 'none' as const),
  initialPolicyRoots: fc.array(hash32, { maxLength: 4 }),
});
