// Commands that join for a moment: they go on with the first peer, and say so when nobody answers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitForPeer } from '../../../node/cli/wait-for-peer.ts';
import type { Peers } from '../../../node/network/peers.ts';
import { fakeClock } from '../../support/fake-clock.ts';

test('the first peer ends the wait; without one it ends as PEER_UNREACHABLE, with the address', async () => {
  const clock = fakeClock();
  const connected: string[] = [];
  const peers = { connected: () => connected } as unknown as Pick<Peers, 'connected'>;
  const nobody = assert.rejects(waitForPeer({ peers, clock }, ['/ip4/192.0.2.1/tcp/4001']), (error: Error) => {
    assert.equal((error as { code?: string }).code, 'PEER_UNREACHABLE');
    return error.message.includes('/ip4/192.0.2.1/tcp/4001');
  });
  await clock.advance(20_000);
  await nobody;
  const found = waitForPeer({ peers, clock }, ['/ip4/192.0.2.1/tcp/4001']);
  await clock.advance(1_000);
  connected.push('peer');
  await clock.advance(1_000);
  await found;
});
