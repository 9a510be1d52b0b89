// The blob fetcher port over the blob stores of other members of a test's swarm, with room for liars and slow ones.

import { sha256, toHex } from '../../node/protocol/bytes.ts';
import { SwarmError } from '../../node/protocol/errors.ts';
import type { BlobFetcher, BlobStore, PeerIdString } from '../../node/protocol/ports.ts';

/** A peer as the fetcher sees it. */
export interface MemoryPeer {
  readonly blobs: BlobStore;
  /** what the peer makes of an answer; may throw or wait */
  tamper?: (bytes: Uint8Array, hashHex: string, offset: number) => Uint8Array | Promise<Uint8Array>;
}

export interface MemoryFetcher extends BlobFetcher {
  readonly peers: Map<PeerIdString, MemoryPeer>;
  /** ranges asked, in order */
  readonly asked: { readonly peer: PeerIdString; readonly hashHex: string; readonly offset: number }[];
}

/** @param own where `fetch` stores what it got */
export function memoryFetcher(own: BlobStore): MemoryFetcher {
  const peers = new Map<PeerIdString, MemoryPeer>();
  const asked: MemoryFetcher['asked'] = [];
  const missing = (hashHex: string): SwarmError => new SwarmError('BLOB_MISSING', `nobody has ${hashHex}`, { hashHex });
  return {
    peers,
    asked,
    async fetch(hashHex, options) {
      for (const { blobs } of peers.values()) {
        if (!(await blobs.has(hashHex))) continue;
        const bytes = await blobs.get(hashHex);
        if (bytes.length > options.sizeBytes) throw new SwarmError('TOO_LARGE', 'larger than announced');
        if (toHex(sha256(bytes)) !== hashHex) throw new SwarmError('BLOB_CORRUPT', 'wrong hash');
        await own.put(bytes);
        return bytes;
      }
      throw missing(hashHex);
    },
    async range(peer, hashHex, offset, length) {
      asked.push({ peer, hashHex, offset });
      const found = peers.get(peer);
      if (found === undefined || !(await found.blobs.has(hashHex))) throw missing(hashHex);
      const bytes = await found.blobs.read(hashHex, offset, length);
      return found.tamper === undefined ? bytes : found.tamper(bytes, hashHex, offset);
    },
    async have(peer, hashes) {
      const found = peers.get(peer);
      if (found === undefined) throw new SwarmError('REQUEST_TIMEOUT', 'gone');
      return Promise.all(hashes.map((hash) => found.blobs.has(hash)));
    },
    connectedPeers: () => [...peers.keys()],
  };
}
