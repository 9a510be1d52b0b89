// The wait of a command that joins a swarm for a moment: until one peer is there, or nobody is to be reached.

import type { Peers } from '../network/peers.ts';
import { SwarmError } from '../protocol/errors.ts';
import type { Clock } from '../protocol/ports.ts';

const CONNECT_TIMEOUT_MS = 15_000;
const POLL_MS = 100;

/**
 * @param joined the addresses that are being dialled
 * @throws {SwarmError} PEER_UNREACHABLE when no peer answers in time
 */
export async function waitForPeer(
  { peers, clock }: { readonly peers: Pick<Peers, 'connected'>; readonly clock: Clock },
  joined: readonly string[],
): Promise<void> {
  const until = clock.nowMs() + CONNECT_TIMEOUT_MS;
  while (peers.connected().length === 0) {
    if (clock.nowMs() > until) {
      throw new SwarmError(
        'PEER_UNREACHABLE',
        `no peer answers at ${joined.join(', ')}; check the address and --network`,
      );
    }
    await clock.sleep(POLL_MS);
  }
}
