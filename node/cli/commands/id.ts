// `murmur id`: the key pair of a data directory, made at the first call.

import { Command } from 'commander';
import { toHex } from '../../protocol/bytes.ts';
import { withDataDir, withJson } from '../options.ts';

export function idCommand(): Command {
  return withJson(withDataDir(new Command('id')))
    .description("show this node's public key and peer id (makes the key at the first call)")
    .addHelpText(
      'after',
      `
Set MURMUR_PASSPHRASE to keep the secret key sealed on disk.

Examples:
  murmur id
  murmur id --json --data-dir /srv/verifier`,
    )
    .action(async (options: { readonly dataDir: string; readonly json: boolean }) => {
      const { readIdentity } = await import('../identity.ts');
      const keyPair = await readIdentity(options.dataDir);
      const shown = { publicKey: toHex(keyPair.publicKey), peerId: keyPair.peerIdString, dataDir: options.dataDir };
      process.stdout.write(
        options.json
          ? `${JSON.stringify(shown)}\n`
          : `public key  ${shown.publicKey}\npeer id     ${shown.peerId}\nkept in     ${shown.dataDir}\n`,
      );
    });
}
