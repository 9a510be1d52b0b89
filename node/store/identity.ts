// This machine's identity on disk: made at first, owner-only, sealed when a passphrase is set.
// Source: design.md "Keys"; the file's form is node/protocol/keys.ts.
// Invariant: a key file that is there is never replaced by another key.

import { createKeyPair, decodeKeyFile, encodeKeyFile, isSealedKeyFile, type KeyPair } from '../protocol/keys.ts';
import type { Logger } from '../protocol/ports.ts';
import { type DataDirLayout, dataDirLayout } from './data-dir.ts';
import { type FileSystem, NODE_FILE_SYSTEM, readIfThere, writeWhole } from './files.ts';
import { diskError } from './fs-error.ts';

const OWNER_ONLY = 0o600;

/**
 * The key pair of a data directory. A passphrase given for an open file seals it.
 * @throws {SwarmError} BAD_KEY for a damaged file, a missing or wrong passphrase; DISK_FULL, DATA_DIR_UNUSABLE
 */
export async function loadIdentity(
  components: { readonly layout: DataDirLayout; readonly files: FileSystem; readonly logger: Logger },
  passphrase?: string,
): Promise<KeyPair> {
  const { layout, files, logger } = components;
  const write = (keyPair: KeyPair): Promise<void> =>
    writeWhole(files, layout.temporary, layout.keyFile, encodeKeyFile(keyPair, passphrase), OWNER_ONLY);
  try {
    const bytes = await readIfThere(files, layout.keyFile);
    if (bytes === null) {
      const keyPair = createKeyPair();
      await write(keyPair);
      return keyPair;
    }
    const keyPair = decodeKeyFile(bytes, passphrase);
    if (passphrase !== undefined && passphrase !== '' && !isSealedKeyFile(bytes)) {
      logger.info({ keyFile: layout.keyFile }, 'sealing the key file with the passphrase given');
      await write(keyPair);
    }
    await keepToOwner(components);
    return keyPair;
  } catch (error) {
    throw diskError(error, 'read or write the key file');
  }
}

/**
 * The key pair that is in a data directory, whoever has it open; nothing is changed. Null when there is none.
 * @throws {SwarmError} BAD_KEY, DATA_DIR_UNUSABLE
 */
export async function readKeyFile(dir: string, passphrase?: string): Promise<KeyPair | null> {
  const bytes = await readIfThere(NODE_FILE_SYSTEM, dataDirLayout(dir).keyFile).catch((error: unknown) => {
    throw diskError(error, 'read the key file');
  });
  return bytes === null ? null : decodeKeyFile(bytes, passphrase);
}

async function keepToOwner(components: {
  readonly layout: DataDirLayout;
  readonly files: FileSystem;
  readonly logger: Logger;
}): Promise<void> {
  // Windows has no such bits.
  if (process.platform === 'win32') return;
  const { layout, files, logger } = components;
  const { mode } = await files.stat(layout.keyFile);
  if ((mode & 0o077) === 0) return;
  logger.warn({ keyFile: layout.keyFile }, 'others could read the key file; making it owner-only');
  await files.chmod(layout.keyFile, OWNER_ONLY);
}
