// A swarm's name, and the 32 bytes that bind every signature to it.
// Source: spec/wire.md "Signed things" (networkId = H(network name)).

import { sha256 } from './bytes.ts';
import { SwarmError } from './errors.ts';

const NETWORK_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * The id of the network called `name`.
 * @param name 1 … 64 letters, digits, `.`, `_`, `-`, for it is part of topics and folder names
 * @returns 32 bytes
 * @throws {SwarmError} USAGE
 */
export function networkIdOf(name: string): Uint8Array {
  if (!NETWORK_NAME.test(name)) {
    throw new SwarmError(
      'USAGE',
      'a network name is 1 to 64 letters, digits, ".", "_" or "-", and begins with a letter or digit',
      { length: name.length },
    );
  }
  return sha256(name);
}
