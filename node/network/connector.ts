// Keeps us connected: bootstrap addresses until they answer, peers that discovery finds, peers known from before.
// Source: design.md "a denied peer's dial() resolves: wait for an application-level answer". libp2p 3 dials nobody by itself.
// Invariants: every wait has a limit or the stop signal; a failed address is tried again later and later, at most every minute.

import type { PeerId } from '@libp2p/interface';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { Libp2p } from 'libp2p';
import { errorText, SwarmError } from '../protocol/errors.ts';
import type { Clock, Logger, Startable } from '../protocol/ports.ts';
import type { Events, NetworkEvent } from './events.ts';
import type { Services } from './libp2p-options.ts';
import type { Standing } from './standing.ts';

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;
const ANSWER_TIMEOUT_MS = 10_000;
const UPKEEP_MS = 5_000;
const DIALS_AT_ONCE = 4;

export interface ConnectorComponents {
  readonly libp2p: Libp2p<Services>;
  readonly standing: Standing;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: Events<NetworkEvent>;
}

export interface ConnectorInit {
  readonly bootstrap: readonly string[];
  /** connections below which known peers are dialled */
  readonly targetPeers: number;
}

/** Parses an address. @throws {SwarmError} BAD_ADDRESS */
export function parseAddress(text: string): Multiaddr {
  try {
    return multiaddr(text);
  } catch (cause) {
    throw new SwarmError(
      'BAD_ADDRESS',
      `${text} is not a multiaddr; write for example /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…`,
      { address: text },
      { cause },
    );
  }
}

/** @throws {SwarmError} BAD_ADDRESS when a bootstrap address cannot be parsed */
export function createConnector(components: ConnectorComponents, init: ConnectorInit): Startable {
  const { libp2p, clock } = components;
  const bootstrap = init.bootstrap.map((text) => ({ text, address: parseAddress(text) }));
  const stopping = new AbortController();
  const failures = new Map<string, { count: number; againAtMs: number }>();
  let loops: Promise<void>[] = [];

  const dialSoon = (): void => void upkeep().catch((error) => logUpkeep(components, error));
  let upkeepRuns = false;

  async function upkeep(): Promise<void> {
    if (upkeepRuns || stopping.signal.aborted) return;
    upkeepRuns = true;
    try {
      const missing = init.targetPeers - libp2p.getPeers().length;
      if (missing <= 0) return;
      const known = await libp2p.peerStore.all({ limit: 512 });
      const idle = known.filter((peer) => peer.addresses.length > 0 && isDialable(peer.id)).map((peer) => peer.id);
      await Promise.all(idle.slice(0, Math.min(missing, DIALS_AT_ONCE)).map(dialPeer));
    } finally {
      upkeepRuns = false;
    }
  }

  function isDialable(peer: PeerId): boolean {
    const text = peer.toString();
    if (peer.equals(libp2p.peerId) || components.standing.isBanned(text)) return false;
    if ((failures.get(text)?.againAtMs ?? 0) > clock.nowMs()) return false;
    return libp2p.getConnections(peer).length === 0;
  }

  async function dialPeer(peer: PeerId): Promise<void> {
    try {
      await libp2p.dial(peer, { signal: withTimeout(stopping.signal) });
      failures.delete(peer.toString());
    } catch (error) {
      const count = (failures.get(peer.toString())?.count ?? 0) + 1;
      if (failures.size >= 1024) failures.delete(failures.keys().next().value!);
      failures.set(peer.toString(), { count, againAtMs: clock.nowMs() + 5 * retryMsAfter(count) });
      components.logger.debug({ peer: peer.toString(), error: errorText(error) }, 'known peer does not answer');
    }
  }

  async function upkeepLoop(): Promise<void> {
    while (!stopping.signal.aborted) {
      await upkeep().catch((error) => logUpkeep(components, error));
      await clock.sleep(UPKEEP_MS, stopping.signal);
    }
  }

  return {
    async start() {
      libp2p.addEventListener('peer:discovery', dialSoon);
      loops = [upkeepLoop(), ...bootstrap.map((it) => keepJoined(components, it.text, it.address, stopping.signal))];
    },
    async stop() {
      stopping.abort();
      libp2p.removeEventListener('peer:discovery', dialSoon);
      await Promise.all(loops);
    },
  };
}

function logUpkeep(components: ConnectorComponents, error: unknown): void {
  components.logger.error({ error: errorText(error) }, 'could not look for peers');
}

function retryMsAfter(failuresInARow: number): number {
  return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failuresInARow - 1));
}

function withTimeout(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
}

/** Dials one bootstrap address until it answers, waits until that connection ends, and begins again. */
async function keepJoined(
  components: ConnectorComponents,
  text: string,
  address: Multiaddr,
  stop: AbortSignal,
): Promise<void> {
  const { libp2p, clock, logger, events } = components;
  let attempt = 0;
  while (!stop.aborted) {
    try {
      const connection = await libp2p.dial(address, { signal: withTimeout(stop) });
      await libp2p.services.ping.ping(connection.remotePeer, { signal: withTimeout(stop) });
      attempt = 0;
      events.emit({ kind: 'joined', address: text, text: `joined the swarm at ${text}` });
      await untilDisconnected(libp2p, connection.remotePeer, stop);
      if (!stop.aborted) await clock.sleep(FIRST_RETRY_MS, stop);
    } catch (error) {
      if (stop.aborted) return;
      attempt++;
      const retryMs = retryMsAfter(attempt);
      const reason = errorText(error);
      logger.warn({ address: text, attempt, retryMs, reason }, 'cannot reach a bootstrap peer, retrying');
      const words = `cannot reach ${text}, retrying in ${retryMs / 1000} s`;
      events.emit({ kind: 'unreachable', address: text, attempt, retryMs, reason, text: words });
      await clock.sleep(retryMs, stop);
    }
  }
}

function untilDisconnected(libp2p: Libp2p<Services>, peer: PeerId, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      libp2p.removeEventListener('peer:disconnect', onDisconnect);
      stop.removeEventListener('abort', done);
      resolve();
    };
    const onDisconnect = (event: CustomEvent<PeerId>): void => {
      if (event.detail.equals(peer)) done();
    };
    libp2p.addEventListener('peer:disconnect', onDisconnect);
    stop.addEventListener('abort', done);
    if (stop.aborted || libp2p.getConnections(peer).length === 0) done();
  });
}
