// Every message codec: what goes in comes out, and hostile bytes meet nothing but a SwarmError.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeBody, encodeBody } from '../../../node/protocol/body.ts';
import { sha256 } from '../../../node/protocol/bytes.ts';
import { isSwarmError } from '../../../node/protocol/errors.ts';
import { decodeGroup, encodeGroup } from '../../../node/protocol/group.ts';
import { decodeManifest, encodeManifest } from '../../../node/protocol/manifest.ts';
import { decodeOffer, encodeOffer } from '../../../node/protocol/offer.ts';
import { decodeRecipeAnnouncement, encodeRecipeAnnouncement } from '../../../node/protocol/recipe-announcement.ts';
import { decodeSecret, encodeSecret } from '../../../node/protocol/secret.ts';
import {
  decodeBlobAnswer,
  decodeBlobRequest,
  decodeHaveAnswer,
  decodeHaveRequest,
  decodeSyncAnswer,
  decodeSyncRequest,
  encodeBlobAnswer,
  encodeBlobRequest,
  encodeHaveAnswer,
  encodeHaveRequest,
  encodeSyncAnswer,
  encodeSyncRequest,
} from '../../../node/protocol/streams.ts';
import { decodeVerdict, encodeVerdict } from '../../../node/protocol/verdict.ts';
import {
  body,
  damage,
  group,
  hash32,
  manifest,
  offer,
  record,
  timeMs,
  u32,
  verdict,
} from '../../support/arbitrary-messages.ts';

const status = fc.constantFrom('ok' as const, 'missing' as const, 'busy' as const, 'refused' as const);
const bytes = fc.uint8Array({ maxLength: 300 });
const optionalId = fc.option(hash32, { nil: null });

function codec<T>(arbitrary: fc.Arbitrary<T>, encode: (value: T) => Uint8Array, decode: (bytes: Uint8Array) => T) {
  return {
    roundTrips: () =>
      fc.assert(
        fc.property(arbitrary, (value) => assert.deepEqual(decode(encode(value)), value)),
        { numRuns: 60 },
      ),
    survivesDamage: () =>
      fc.assert(
        fc.property(arbitrary, fc.array(damage, { minLength: 1, maxLength: 3 }), (value, damages) => {
          const damaged = damages.reduce((each, hurt) => hurt(each), encode(value));
          try {
            decode(damaged);
          } catch (error) {
            assert.ok(isSwarmError(error, 'MALFORMED', 'TOO_LARGE'), String(error));
          }
        }),
        { numRuns: 250 },
      ),
    survivesNoise: () =>
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
          try {
            decode(noise);
          } catch (error) {
            assert.ok(isSwarmError(error, 'MALFORMED', 'TOO_LARGE'), String(error));
          }
        }),
        { numRuns: 250 },
      ),
  };
}

const codecs = {
  group: codec(group, encodeGroup, decodeGroup),
  body: codec(body, encodeBody, decodeBody),
  verdict: codec(verdict, encodeVerdict, decodeVerdict),
  manifest: codec(manifest, encodeManifest, decodeManifest),
  offer: codec(offer, encodeOffer, decodeOffer),
  secret: codec(
    record({ recipeId: hash32, policyStep: u32, shown: fc.boolean(), secret: hash32 }).map(
      ({ shown, secret, ...rest }) => ({ ...rest, secretHash: sha256(secret), secret: shown ? secret : null }),
    ),
    encodeSecret,
    decodeSecret,
  ),
  'recipe announcement': codec(
    record({ recipe: record({ hash: hash32, sizeBytes: fc.nat(262_144) }), timeMs }),
    encodeRecipeAnnouncement,
    decodeRecipeAnnouncement,
  ),
  'blob request': codec(
    record({ hash: hash32, offset: fc.nat(2 ** 30), length: fc.integer({ min: 1, max: 2 ** 20 }) }),
    encodeBlobRequest,
    decodeBlobRequest,
  ),
  'blob answer': codec(record({ status, sizeBytes: fc.nat(2 ** 30), data: bytes }), encodeBlobAnswer, decodeBlobAnswer),
  'sync request': codec(record({ recipeId: optionalId, cursor: bytes }), encodeSyncRequest, decodeSyncRequest),
  'sync answer': codec(
    record({ status, envelopes: fc.array(bytes, { maxLength: 5 }), nextCursor: bytes }),
    encodeSyncAnswer,
    decodeSyncAnswer,
  ),
  'have request': codec(
    record({ hashes: fc.array(hash32, { minLength: 1, maxLength: 20 }) }),
    encodeHaveRequest,
    decodeHaveRequest,
  ),
  'have answer': codec(record({ status, bits: bytes }), encodeHaveAnswer, decodeHaveAnswer),
};

for (const [name, { roundTrips, survivesDamage, survivesNoise }] of Object.entries(codecs)) {
  describe(`codec of a ${name}`, () => {
    it('gives back what it was given', roundTrips);
    it('answers damaged bytes with MALFORMED or TOO_LARGE', survivesDamage);
    it('answers noise with MALFORMED or TOO_LARGE', survivesNoise);
  });
}
