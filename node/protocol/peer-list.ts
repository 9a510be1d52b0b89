// Whom a peer is connected to, as told on /murmuration/peers/1. The request is empty.
// Ours, beside spec/wire.md "Streams": it makes a mesh within a second or two of a swarm whose only common peer is its
// bootstrap address, where the DHT takes until its next round of questions; in a star no verifier reaches the bodies.

import { decodeMessage, encodeMessage, listLength, malformed } from './codec.ts';
import { isPeerId } from './keys.ts';
import { PeersAnswerSchema } from './messages_pb.ts';

export const PEERS_PROTOCOL: string = '/murmuration/peers/1';
export const PEERS_ANSWER_MAX_BYTES: number = 32 * 1024;
export const MAX_LISTED_PEERS = 32;
export const MAX_ADDRESSES = 8;
const MAX_ADDRESS_CHARACTERS = 256;

export interface ListedPeer {
  /** multihash, 38 bytes */
  readonly peerId: Uint8Array;
  /** multiaddrs; may or may not end in /p2p/… */
  readonly addresses: readonly string[];
}

export function encodePeerList(peers: readonly ListedPeer[]): Uint8Array {
  const list = peers.map(({ peerId, addresses }) => ({ peerId, addresses: [...addresses] }));
  return encodeMessage(PeersAnswerSchema, 'peer list', { peers: list }, decodePeerList);
}

/** @throws {SwarmError} MALFORMED, TOO_LARGE */
export function decodePeerList(bytes: Uint8Array): ListedPeer[] {
  const { peers } = decodeMessage(PeersAnswerSchema, 'peer list', bytes, PEERS_ANSWER_MAX_BYTES);
  listLength('peers', peers, 0, MAX_LISTED_PEERS);
  return peers.map(({ peerId, addresses }) => {
    if (!isPeerId(peerId)) throw malformed('peerId', 'the multihash of an Ed25519 peer id');
    if (addresses.length > MAX_ADDRESSES) throw malformed('addresses', `at most ${MAX_ADDRESSES}`, addresses.length);
    const long = addresses.find((text) => text.length > MAX_ADDRESS_CHARACTERS);
    if (long !== undefined) throw malformed('address', `at most ${MAX_ADDRESS_CHARACTERS} characters`, long.length);
    return { peerId, addresses };
  });
}
