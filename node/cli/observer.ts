// An observer: joins the network with a key of its own in a temporary folder, learns the past by sync, looks, leaves.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { participantInspector } from './inspect-participant.ts';
import type { InspectHandlers } from './inspector.ts';
import { createParticipant, type Participant } from './participant.ts';
import { createLogger, systemClock } from './system.ts';
import { waitForPeer } from './wait-for-peer.ts';

export interface ObserverOptions {
  readonly network: string;
  readonly join: readonly string[];
  readonly loopback: boolean;
  /** which policies to fetch; default the newest alone */
  readonly keep?: 'all' | 'newest';
}

const SETTLE_MS = 1_500;
/** A network may have no recipe at all. */
const RECIPES_TIMEOUT_MS = 8_000;
const LEARN_TIMEOUT_MS = 20_000;
const POLL_MS = 100;
const MAX_DISK_BYTES = 2e9;

/** @throws {SwarmError} PEER_UNREACHABLE when no peer answers in time */
export async function withObserver<T>(
  options: ObserverOptions,
  use: (handlers: InspectHandlers, participant: Participant) => Promise<T>,
): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'murmur-observer-'));
  try {
    const participant = await createParticipant(
      { emit: () => {}, logger: createLogger('error') },
      {
        ...{ dataDir, network: options.network, join: options.join, loopback: options.loopback },
        ...{ host: options.loopback ? '127.0.0.1' : '0.0.0.0', port: 0, mdns: false, relay: false },
        ...{ maxDisk: MAX_DISK_BYTES, logLevel: 'error', json: false },
      },
    );
    try {
      await learn(participant, options);
      return await use(participantInspector(participant, { role: 'observer' }), participant);
    } finally {
      await participant.stop();
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Waits until a peer is there, the recipes are known, and each has brought its newest policy (or nothing new comes). */
async function learn(
  participant: Participant,
  { network, join: joined, keep = 'newest' }: ObserverOptions,
): Promise<void> {
  await waitForPeer({ peers: participant.host.peers, clock: systemClock }, joined);
  const learnBy = systemClock.nowMs() + LEARN_TIMEOUT_MS;
  const recipesBy = systemClock.nowMs() + RECIPES_TIMEOUT_MS;
  while (participant.book.list().length === 0 && systemClock.nowMs() < recipesBy) await systemClock.sleep(POLL_MS);
  if (participant.book.list().length === 0) {
    process.stderr.write(`murmur: no recipe is known on network ${network} there; is it another --network?\n`);
  }
  await systemClock.sleep(SETTLE_MS);
  for (const known of participant.book.list()) {
    const followed = await participant.follow(known, { keep });
    while (followed.chain.ready() === null && systemClock.nowMs() < learnBy) await systemClock.sleep(POLL_MS);
  }
  await systemClock.sleep(SETTLE_MS);
}
