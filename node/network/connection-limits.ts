// How many of our connections one peer, and one address, may hold. libp2p bounds all of them together and refuses who comes
// once they are taken: without these limits one key takes every place.
// Invariants: what we dialled ourselves is never closed; a peer that comes again loses its oldest connection, so that one
// whose connections died unnoticed gets in; private addresses, and relayed peers, share no limit.

import { BlockList } from 'node:net';
import type { Connection } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { toHex } from '../protocol/bytes.ts';

/** Both may dial at once, and a direct one replaces a relayed one. Our own. */
const MAX_CONNECTIONS_PER_PEER = 3;
/** Inbound ones of one public address, half of all places: a campus behind one address may well join. Our own. */
const MAX_CONNECTIONS_PER_ADDRESS = 64;

/** Codes of the first part of a multiaddr. Source: multiformats/multicodec table. */
const IP4 = 4;
const IP6 = 41;
/** The part of an IPv6 address that one customer is given whole. */
const IP6_NETWORK_BYTES = 8;
const IP4_IN_IP6 = '00000000000000000000ffff';

const PRIVATE = new BlockList();
for (const [network, bits] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  PRIVATE.addSubnet(network, bits, 'ipv4');
}
PRIVATE.addAddress('::1', 'ipv6');
PRIVATE.addSubnet('fc00::', 7, 'ipv6');
PRIVATE.addSubnet('fe80::', 10, 'ipv6');

/** What of a connection decides. */
export type Counted = Pick<Connection, 'direction' | 'remoteAddr' | 'remotePeer'>;

/**
 * The connection that must end because another was opened; null when there is room.
 * @param others open before it, oldest first
 */
export function connectionToClose<T extends Counted>(opened: T, others: readonly T[]): T | null {
  const all = [...others, opened];
  const ofPeer = all.filter(({ remotePeer }) => remotePeer.equals(opened.remotePeer));
  if (ofPeer.length > MAX_CONNECTIONS_PER_PEER) return ofPeer.find(isInbound) ?? null;
  const address = publicAddressOf(opened.remoteAddr);
  if (address === null) return null;
  const ofAddress = all.filter((it) => isInbound(it) && publicAddressOf(it.remoteAddr) === address);
  return ofAddress.length > MAX_CONNECTIONS_PER_ADDRESS ? opened : null;
}

function isInbound({ direction }: Counted): boolean {
  return direction === 'inbound';
}

/** A name for the IPv4 address or the IPv6 network at the other end; null: private, relayed or none. */
function publicAddressOf(address: Multiaddr): string | null {
  const parts = address.getComponents();
  const [first] = parts;
  if (first?.value === undefined || parts.some(({ name }) => name === 'p2p-circuit')) return null;
  if (first.code !== IP4 && first.code !== IP6) return null;
  if (PRIVATE.check(first.value, first.code === IP4 ? 'ipv4' : 'ipv6')) return null;
  const bytes = toHex(address.bytes.subarray(1, first.code === IP4 ? 5 : 17));
  if (bytes.startsWith(IP4_IN_IP6)) return bytes.slice(IP4_IN_IP6.length);
  return bytes.slice(0, 2 * IP6_NETWORK_BYTES);
}
