// Which connection ends when one peer or one address has too many. No network.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { type Counted, connectionToClose } from '../../../node/network/connection-limits.ts';
import { createKeyPair } from '../../../node/protocol/keys.ts';

const newPeer = (): Counted['remotePeer'] => peerIdFromString(createKeyPair().peerIdString);

const PEERS = Array.from({ length: 65 }, newPeer);

function connection(remotePeer: Counted['remotePeer'], direction: Counted['direction'], address?: string): Counted {
  return { remotePeer, direction, remoteAddr: multiaddr(address ?? '/ip4/127.0.0.1/tcp/1') };
}

/** The connection to close when the 65th of as many peers comes from an address. */
function of65From(address: (i: number) => string, direction: Counted['direction'] = 'inbound'): [Counted, unknown] {
  const all = PEERS.map((peer, i) => connection(peer, direction, address(i)));
  return [all[64]!, connectionToClose(all[64]!, all.slice(0, 64))];
}

describe('limits on connections', () => {
  it('close the oldest of a peer that we did not dial, and no other peer’s', () => {
    const [peer, other] = PEERS as [Counted['remotePeer'], Counted['remotePeer']];
    const dialled = connection(peer, 'outbound');
    const [first, second, third] = [1, 2, 3].map(() => connection(peer, 'inbound'));
    const elsewhere = [1, 2, 3].map(() => connection(other, 'inbound'));
    assert.equal(connectionToClose(second!, [...elsewhere, dialled, first!]), null);
    assert.equal(connectionToClose(third!, [...elsewhere, dialled, first!, second!]), first);
    const ours = [1, 2, 3, 4].map(() => connection(peer, 'outbound'));
    assert.equal(connectionToClose(ours[3]!, ours.slice(0, 3)), null);
  });

  it('refuse more than half of all places to one public address, and to one IPv6 network', () => {
    for (const address of [
      () => '/ip4/203.0.113.7/tcp/1',
      () => '/ip6/::ffff:203.0.113.7/tcp/1',
      (i: number) => (i % 2 === 0 ? '/ip4/203.0.113.7/tcp/1' : '/ip6/::ffff:203.0.113.7/tcp/1'),
      (i: number) => `/ip6/2001:db8:1:2::${i + 1}/tcp/1`,
    ]) {
      const [last, closed] = of65From(address);
      assert.equal(closed, last);
    }
  });

  it('do not count together who shares a private address or a relay, or whom we dialled', () => {
    const relay = `/ip4/203.0.113.7/tcp/1/p2p/${PEERS[0]}/p2p-circuit`;
    for (const address of [
      () => '/ip4/127.0.0.1/tcp/1',
      () => '/ip4/10.1.2.3/tcp/1',
      () => '/ip4/172.31.2.3/tcp/1',
      () => '/ip4/192.168.1.1/tcp/1',
      () => '/ip6/::1/tcp/1',
      () => '/ip6/fd00::1/tcp/1',
      () => '/ip6/::ffff:10.1.2.3/tcp/1',
      () => relay,
      (i: number) => `/ip4/203.0.113.${i}/tcp/1`,
      (i: number) => `/ip6/::ffff:203.0.113.${i}/tcp/1`,
    ]) {
      assert.equal(of65From(address)[1], null, address(0));
    }
    assert.equal(of65From(() => '/ip4/203.0.113.7/tcp/1', 'outbound')[1], null);
  });
});
