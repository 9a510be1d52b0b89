// Learns the past: asks peers for stored messages when they connect, when a recipe is followed, and now and then.
// Source: spec/wire.md "Streams": asked of two peers at connect and after every reconnect, each item checked as if gossiped.
// Invariants: pages of one peer and recipe are taken in order, one at a time; a peer's cursor dies with its connection.

import { fromHex } from '../protocol/bytes.ts';
import { errorText, isSwarmError } from '../protocol/errors.ts';
import { SYNC_PAGE_MAX_BYTES } from '../protocol/limits.ts';
import type { Clock, Logger, PeerIdString, Startable } from '../protocol/ports.ts';
import { decodeSyncAnswer, encodeSyncRequest } from '../protocol/streams.ts';
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
  let turn: Promise<void> = Promise.resolve();
  let unlisten: (() => void)[] = [];

  /** One after another: checking what comes is work for this machine. */
  function queue(peer: PeerIdString, scopes: () => readonly (string | null)[]): Promise<void> {
    turn = turn.then(async () => {
      for (const scope of scopes()) {
        if (stopping.signal.aborted || !host.peers.connected().includes(peer)) return;
        await pull(peer, scope);
      }
    });
    return turn;
  }

  async function pull(peer: PeerIdString, scope: string | null): Promise<void> {
    const name = `${peer} ${scope ?? ''}`;
    try {
      const cursor = await pullPages(components, peer, scope, cursors.get(name) ?? new Uint8Array(0), stopping.signal);
      cursors.set(name, cursor);
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
      const peers = host.peers.connected();
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

/** All pages from a cursor on; returns where to go on next time. */
async function pullPages(
  components: SyncComponents,
  peer: PeerIdString,
  scope: string | null,
  from: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { requests, inbox, clock } = components;
  const recipeId = scope === null ? null : fromHex(scope, 32);
  let cursor = from;
  let isComplete = true;
  let hasParked = false;
  for (let page = 0; page < MAX_PAGES; page++) {
    const request = encodeSyncRequest({ recipeId, cursor });
    const limits = { maxAnswerBytes: SYNC_PAGE_MAX_BYTES, timeoutMs: PAGE_TIMEOUT_MS, signal };
    const answer = decodeSyncAnswer(await requests.ask(peer, SYNC_PROTOCOL, request, limits));
    if (answer.status !== 'ok') break;
    for (const envelope of answer.envelopes) {
      const checked = await inbox.receive(envelope, scope, { peer, via: 'sync' });
      if (checked.answer === 'ignore' && checked.code === 'TOO_MANY_PARKED') isComplete = false;
      if (checked.answer === 'ignore' && checked.code !== 'DUPLICATE') hasParked = true;
    }
    if (answer.nextCursor.length === 0) break;
    cursor = answer.nextCursor;
  }
  if (hasParked && inbox.parkedCount() > 0) {
    await clock.sleep(RECONSIDER_MS, signal);
    await inbox.reconsider(scope);
  }
  return isComplete ? cursor : from;
}
