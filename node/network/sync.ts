// Learns the past: asks peers for stored messages when they connect, when a recipe is followed, and now and then.
// Source: spec/wire.md "Streams": asked of two peers at connect and after every reconnect, each item checked as if gossiped.
// Invariants: pages of one peer are taken in order, one at a time, and no peer waits for another; a turn of a peer waits for
// its answers a minute at most, and the next one goes on where it ended; a peer's cursor dies with its connection.

import { equalBytes, fromHex } from '../protocol/bytes.ts';
import { errorText, isSwarmError } from '../protocol/errors.ts';
import { SYNC_PAGE_MAX_BYTES } from '../protocol/limits.ts';
import type { Clock, Logger, PeerIdString, Startable } from '../protocol/ports.ts';
import { decodeSyncAnswer, encodeSyncRequest, type SyncAnswer } from '../protocol/streams.ts';
import { SYNC_PROTOCOL } from '../protocol/topics.ts';
import type { Host } from './host.ts';
import type { NetworkInbox } from './inbox.ts';
import type { Requests } from './streams.ts';

/** Peers asked at connect. */
const PEERS_ASKED = 2;
/** Gossip of a new connection takes a moment to open: ask once more for what fell between. */
const SECOND_LOOK_MS = 3_000;
/** One peer is asked for what is new to it, in case gossip lost something. */
const INTERVAL_MS = 30_000;
const PAGE_TIMEOUT_MS = 30_000;
const MAX_PAGES = 64;
/** What one turn of a peer may wait for its answers, all pages and recipes together. Our own: two pages of the slowest. */
const TURN_WAIT_MS = 60_000;
/** What was parked meanwhile is looked at again after its manifests had time to be taken in. */
const RECONSIDER_MS = 500;

export interface SyncComponents {
  readonly host: Host;
  readonly requests: Requests;
  readonly inbox: NetworkInbox;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Sync extends Startable {
  /** asks one peer for everything new; resolves when done, also when it failed */
  ask(peer: PeerIdString): Promise<void>;
}

/** Learns the past from peers, once started. @param init `intervalMs` between looks at a random peer, default 30 000 */
export function createSync(components: SyncComponents, init: { readonly intervalMs?: number } = {}): Sync {
  const { host, inbox, clock, logger } = components;
  const stopping = new AbortController();
  const cursors = new Map<string, Uint8Array>();
  const asked = new Set<PeerIdString>();
  const running = new Set<Promise<void>>();
  const turns = new Map<PeerIdString, Promise<void>>();
  let unlisten: (() => void)[] = [];

  /** Turns of one peer come one after another; a peer that answers late holds up nobody else. */
  function queue(peer: PeerIdString, scopes: () => readonly (string | null)[]): Promise<void> {
    const before = turns.get(peer) ?? Promise.resolve();
    const mine = before.then(async () => {
      const patience: Patience = { leftMs: TURN_WAIT_MS };
      for (const scope of scopes()) {
        if (stopping.signal.aborted || !host.peers.connected().includes(peer)) break;
        await pull(peer, scope, patience);
      }
      if (turns.get(peer) === mine) turns.delete(peer);
    });
    turns.set(peer, mine);
    return mine;
  }

  async function pull(peer: PeerIdString, scope: string | null, patience: Patience): Promise<void> {
    const name = `${peer} ${scope ?? ''}`;
    const from = cursors.get(name) ?? new Uint8Array(0);
    const keep = (cursor: Uint8Array): void => void cursors.set(name, cursor);
    try {
      await pullPages(components, { peer, scope, from, keep, patience, signal: stopping.signal });
    } catch (error) {
      if (stopping.signal.aborted) return;
      if (isSwarmError(error, 'MALFORMED', 'TOO_LARGE')) host.standing.penalize(peer, 'oversized answer');
      logger.debug({ peer, scope, error: errorText(error) }, 'no sync with this peer');
    }
  }

  const everything = (): readonly (string | null)[] => [null, ...inbox.followed()];

  function onConnected(peer: PeerIdString): void {
    if (asked.size >= PEERS_ASKED) return;
    asked.add(peer);
    track(
      queue(peer, everything)
        .then(() => clock.sleep(SECOND_LOOK_MS, stopping.signal))
        .then(() => queue(peer, everything)),
    );
  }

  function onDisconnected(peer: PeerIdString): void {
    asked.delete(peer);
    for (const name of cursors.keys()) if (name.startsWith(`${peer} `)) cursors.delete(name);
  }

  function onFollow(recipeIdHex: string): void {
    const some = [...new Set([...asked, ...host.peers.connected()])].slice(0, PEERS_ASKED);
    for (const peer of some) track(queue(peer, () => [recipeIdHex]));
  }

  async function upkeep(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(init.intervalMs ?? INTERVAL_MS, stopping.signal);
      const peers = host.peers.connected().filter((peer) => !turns.has(peer));
      const peer = peers[Math.floor(Math.random() * peers.length)];
      if (peer !== undefined && !stopping.signal.aborted) await queue(peer, everything);
    }
  }

  function track(work: Promise<void>): void {
    const settled = work.finally(() => running.delete(settled));
    running.add(settled);
  }

  return {
    ask: (peer) => queue(peer, everything),
    async start() {
      unlisten = [
        host.onEvent((event) => {
          if (event.kind === 'connected') onConnected(event.peer);
          if (event.kind === 'disconnected') onDisconnected(event.peer);
        }),
        inbox.onFollow(onFollow),
      ];
      for (const peer of host.peers.connected()) onConnected(peer);
      track(upkeep());
    },
    async stop() {
      stopping.abort();
      for (const end of unlisten) end();
      await Promise.all(running);
    },
  };
}

interface Patience {
  leftMs: number;
}

interface Pull {
  readonly peer: PeerIdString;
  readonly scope: string | null;
  readonly from: Uint8Array;
  /** told where to go on next time, after each page */
  readonly keep: (cursor: Uint8Array) => void;
  readonly patience: Patience;
  readonly signal: AbortSignal;
}

/** All pages from a cursor on, until the peer has no more or patience ends. */
async function pullPages(components: SyncComponents, pull: Pull): Promise<void> {
  const { inbox, clock } = components;
  const { peer, scope, signal } = pull;
  let cursor = pull.from;
  let isComplete = true;
  let hasParked = false;
  for (let page = 0; page < MAX_PAGES && pull.patience.leftMs > 0; page++) {
    const answer = await askPage(components, pull, cursor);
    if (answer.status !== 'ok') break;
    for (const envelope of answer.envelopes) {
      const checked = await inbox.receive(envelope, scope, { peer, via: 'sync' });
      if (checked.answer === 'ignore' && checked.code === 'TOO_MANY_PARKED') isComplete = false;
      if (checked.answer === 'ignore' && checked.code !== 'DUPLICATE') hasParked = true;
    }
    // An empty page may still lead on: what the peer looked at lay under its floor.
    if (answer.nextCursor.length === 0 || equalBytes(answer.nextCursor, cursor)) break;
    cursor = answer.nextCursor;
    if (isComplete) pull.keep(cursor);
  }
  if (hasParked && inbox.parkedCount() > 0) {
    await clock.sleep(RECONSIDER_MS, signal);
    await inbox.reconsider(scope);
  }
}

/** One page; the wait for it is taken from the turn's patience. */
async function askPage(components: SyncComponents, pull: Pull, cursor: Uint8Array): Promise<SyncAnswer> {
  const { requests, clock } = components;
  const { peer, scope, patience, signal } = pull;
  const request = encodeSyncRequest({ recipeId: scope === null ? null : fromHex(scope, 32), cursor });
  const timeoutMs = Math.min(PAGE_TIMEOUT_MS, patience.leftMs);
  const askedAtMs = clock.nowMs();
  try {
    const limits = { maxAnswerBytes: SYNC_PAGE_MAX_BYTES, timeoutMs, signal };
    return decodeSyncAnswer(await requests.ask(peer, SYNC_PROTOCOL, request, limits));
  } finally {
    patience.leftMs -= clock.nowMs() - askedAtMs;
  }
}
