// The author's word on a chain: which policy of a step is followed, and which trainer keys sign no more from there on.
// Source: spec/shardcast.md "What is published" (two manifests for one step: nodes wait for a continuation (step, root, key)
// signed by the recipe's author, who may also revoke a trainer key from a step on). The message is ours.
// Invariant: the key that goes on is not among those that are revoked.

import { equalBytes } from './bytes.ts';
import { decodeMessage, encodeMessage, hashField, integerField, listLength, malformed, toBigInt } from './codec.ts';
import { MAX_REVOKED_KEYS, MAX_TIME_MS, PAYLOAD_MAX_BYTES } from './limits.ts';
import { ContinuationSchema } from './messages_pb.ts';

export interface Continuation {
  readonly recipeId: Uint8Array;
  readonly policyStep: number;
  /** what is followed at that step */
  readonly policyRoot: Uint8Array;
  /** Ed25519 public key of the trainer that signed it */
  readonly trainerKey: Uint8Array;
  /** whose other manifests of this step and of later ones count no more */
  readonly revokedKeys: readonly Uint8Array[];
  /** of several for one step the latest counts */
  readonly timeMs: number;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function encodeContinuation(continuation: Continuation): Uint8Array {
  const { revokedKeys, timeMs, ...rest } = continuation;
  const wire = { ...rest, revokedKeys: [...revokedKeys], timeMs: toBigInt('timeMs', timeMs) };
  return encodeMessage(ContinuationSchema, 'continuation', wire, decodeContinuation);
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeContinuation(bytes: Uint8Array): Continuation {
  const wire = decodeMessage(ContinuationSchema, 'continuation', bytes, PAYLOAD_MAX_BYTES);
  listLength('revokedKeys', wire.revokedKeys, 0, MAX_REVOKED_KEYS);
  const trainerKey = hashField('trainerKey', wire.trainerKey);
  const revokedKeys = wire.revokedKeys.map((key) => hashField('revokedKeys', key));
  if (revokedKeys.some((key) => equalBytes(key, trainerKey))) throw malformed('revokedKeys', 'others than trainerKey');
  return {
    recipeId: hashField('recipeId', wire.recipeId),
    policyStep: wire.policyStep,
    policyRoot: hashField('policyRoot', wire.policyRoot),
    trainerKey,
    revokedKeys,
    timeMs: integerField('timeMs', wire.timeMs, 0, MAX_TIME_MS),
  };
}
