// What a trainer will train; sent every five minutes, and the heartbeat of the recipes it is training.
// Source: kind "trainer offer" of spec/wire.md. The trainer's key is the envelope's.

import {
  decodeMessage,
  encodeMessage,
  hashField,
  integerField,
  listLength,
  malformed,
  oneOf,
  toBigInt,
} from './codec.ts';
import { MAX_TIME_MS, OFFER_MAX_ENTRIES, PAYLOAD_MAX_BYTES, SHORT_TEXT_MAX } from './limits.ts';
import { TrainerOfferSchema } from './messages_pb.ts';

export interface TrainerOffer {
  /** names as in config.json, e.g. LlamaForCausalLM */
  readonly architectures: readonly string[];
  readonly maxParameters: number;
  /** recipes this trainer is training now */
  readonly trainingRecipeIds: readonly Uint8Array[];
  readonly timeMs: number;
  /** whose recipes it takes: its own author's, everybody's, nobody's */
  readonly accepts: 'author' | 'all' | 'none';
  /** models it has and will train */
  readonly initialPolicyRoots: readonly Uint8Array[];
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function encodeOffer(offer: TrainerOffer): Uint8Array {
  return encodeMessage(
    TrainerOfferSchema,
    'offer',
    {
      architectures: [...offer.architectures],
      maxParameters: toBigInt('maxParameters', offer.maxParameters),
      trainingRecipeIds: [...offer.trainingRecipeIds],
      timeMs: toBigInt('timeMs', offer.timeMs),
      accepts: offer.accepts,
      initialPolicyRoots: [...offer.initialPolicyRoots],
    },
    decodeOffer,
  );
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeOffer(bytes: Uint8Array): TrainerOffer {
  const wire = decodeMessage(TrainerOfferSchema, 'offer', bytes, PAYLOAD_MAX_BYTES);
  listLength('architectures', wire.architectures, 0, OFFER_MAX_ENTRIES);
  listLength('trainingRecipeIds', wire.trainingRecipeIds, 0, OFFER_MAX_ENTRIES);
  listLength('initialPolicyRoots', wire.initialPolicyRoots, 0, OFFER_MAX_ENTRIES);
  for (const name of wire.architectures) {
    if (name.length > SHORT_TEXT_MAX) throw malformed('architectures', `names of at most ${SHORT_TEXT_MAX} characters`);
  }
  return {
    architectures: wire.architectures,
    maxParameters: integerField('maxParameters', wire.maxParameters, 0, Number.MAX_SAFE_INTEGER),
    trainingRecipeIds: wire.trainingRecipeIds.map((id) => hashField('trainingRecipeIds', id)),
    timeMs: integerField('timeMs', wire.timeMs, 0, MAX_TIME_MS),
    accepts: oneOf('accepts', wire.accepts, ['author', 'all', 'none']),
    initialPolicyRoots: wire.initialPolicyRoots.map((root) => hashField('initialPolicyRoots', root)),
  };
}
