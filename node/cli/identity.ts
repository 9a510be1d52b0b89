// The key pair of a data directory for commands that run beside a node: from the running node's key file, or made.

import { isSwarmError } from '../protocol/errors.ts';
import type { KeyPair } from '../protocol/keys.ts';
import { readKeyFile } from '../store/identity.ts';
import { createStore } from '../store/store.ts';
import { createLogger } from './system.ts';

/** Passphrase that seals the key file, from the environment. */
export function passphrase(): string | undefined {
  return process.env['MURMUR_PASSPHRASE'];
}

/**
 * The key pair of a data directory, made when there is none; of one that a node has open, the key file is read.
 * @throws {SwarmError} BAD_KEY, DATA_DIR_UNUSABLE, DISK_FULL
 */
export async function readIdentity(dataDir: string): Promise<KeyPair> {
  try {
    return await openIdentity(dataDir);
  } catch (error) {
    const keyPair = isSwarmError(error, 'DATA_DIR_IN_USE') ? await readKeyFile(dataDir, passphrase()) : null;
    if (keyPair === null) throw error;
    return keyPair;
  }
}

async function openIdentity(dataDir: string): Promise<KeyPair> {
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
