// A verifier's sampling secret of one policy step: its hash before the step opens, the secret once it has left maxLag.
// Source: spec/rollouts.md "Order of checks" (whole groups are sampled by HMAC of the secret and the groupId).
// Invariant: a secret that is shown hashes to its own commitment.

import { equalBytes, sha256 } from './bytes.ts';
import { decodeMessage, encodeMessage, hashField, malformed, optionalHash } from './codec.ts';
import { SECRET_MAX_BYTES } from './limits.ts';
import { StepSecretSchema } from './messages_pb.ts';

export interface StepSecret {
  readonly recipeId: Uint8Array;
  readonly policyStep: number;
  /** H(secret) */
  readonly secretHash: Uint8Array;
  /** 32 bytes; null until the step has left maxLag */
  readonly secret: Uint8Array | null;
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function encodeSecret(secret: StepSecret): Uint8Array {
  return encodeMessage(
    StepSecretSchema,
    'secret',
    { ...secret, secret: secret.secret ?? new Uint8Array(0) },
    decodeSecret,
  );
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodeSecret(bytes: Uint8Array): StepSecret {
  const wire = decodeMessage(StepSecretSchema, 'secret', bytes, SECRET_MAX_BYTES);
  const secretHash = hashField('secretHash', wire.secretHash);
  const secret = optionalHash('secret', wire.secret);
  if (secret !== null && !equalBytes(sha256(secret), secretHash)) throw malformed('secret', 'what secretHash is of');
  return { recipeId: hashField('recipeId', wire.recipeId), policyStep: wire.policyStep, secretHash, secret };
}
