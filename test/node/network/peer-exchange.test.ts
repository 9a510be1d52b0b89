// Peer exchange over real streams: hosts that know one address only end up connected to each other.

import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { createKeyPair } from '../../../node/protocol/keys.ts';
import { decodePeerList, encodePeerList, MAX_LISTED_PEERS } from '../../../node/protocol/peer-list.ts';
import { until } from '../../support/until.ts';
import { createSwarm } from './support.ts';

describe('peer exchange', { timeout: 60_000 }, () => {
  const swarm = createSwarm();
  after(() => swarm.close());

  it('makes a mesh of a star', async () => {
    const centre = await swarm.node();
    const bootstrap = [centre.host.addresses()[0]!];
    const others = [
      await swarm.node({ settings: { bootstrap } }),
      await swarm.node({ settings: { bootstrap } }),
      await swarm.node({ settings: { bootstrap } }),
    ];
    const isMesh = (): boolean => others.every(({ host }) => host.peers.connected().length >= 3);
    await until(isMesh, 'everybody knows everybody', 30_000);
    for (const { host } of others) {
      const wanted = [centre, ...others].map((node) => node.host.peerId).filter((peer) => peer !== host.peerId);
      assert.deepEqual([...host.peers.connected()].sort(), wanted.sort());
    }
  });

  it('refuses lists that are too long or name no peer', () => {
    const peer = { peerId: createKeyPair().peerId, addresses: ['/ip4/127.0.0.1/tcp/1'] };
    assert.deepEqual(decodePeerList(encodePeerList([peer])), [peer]);
    const tooMany = Array.from({ length: MAX_LISTED_PEERS + 1 }, () => peer);
    assert.throws(() => encodePeerList(tooMany), { code: 'MALFORMED' });
    assert.throws(() => encodePeerList([{ ...peer, peerId: new Uint8Array(38) }]), { code: 'MALFORMED' });
    const longAddress = { ...peer, addresses: ['x'.repeat(300)] };
    assert.throws(() => encodePeerList([longAddress]), { code: 'MALFORMED' });
  });
});
