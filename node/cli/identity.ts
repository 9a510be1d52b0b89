// The key pair of a data directory for commands that run beside a node: from the running node's key file, or made.

import type { KeyPair } from '../protocol/keys.ts';
import { createStore } from '../store/store.ts';
import { createLogger } from './system.ts';

/** Passphrase that seals the key file, from the environment. */
export function passphrase(): string | undefined {
  return process.env['MURMUR_PASSPHRASE'];
}

/**
 * @throws {SwarmError} DATA_DIR_IN_USE while a node runs there (ask it instead), BAD_KEY
 */
export async function readIdentity(dataDir: string): Promise<KeyPair> {
  const store = await createStore({
    dir: dataDir,
    maxDiskBytes: Number.MAX_SAFE_INTEGER,
    logger: createLogger('warn'),
  });
  try {
    return await store.identity(passphrase());
  } finally {
    await store.close();
  }
}
