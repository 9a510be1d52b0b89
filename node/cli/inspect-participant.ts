// The inspector of a running participant, and the status that it tells (also kept on disk for when it has stopped).

import { utf8 } from '../protocol/bytes.ts';
import { createInspector, type InspectHandlers, type Row } from './inspector.ts';
import { NODE_RECORDS, type Participant, STATUS_KEY } from './participant.ts';

/** What a role adds to status and peers. */
export interface RoleView {
  readonly role: string;
  /** figures of the role by recipe name */
  readonly details?: () => Row;
  /** standing of a peer, by peer id */
  readonly standing?: () => ReadonlyMap<string, Row>;
}

const MEBI = 1024 * 1024;

export function participantInspector(participant: Participant, view: RoleView): InspectHandlers {
  return createInspector({
    book: participant.book,
    inbox: participant.inbox,
    blobs: participant.store.blobs,
    fetcher: participant.fetcher,
    tokenizerOf: async (id) =>
      (await participant
        .followed()
        .find((f) => f.known.resolved.recipeIdHex === id)
        ?.tokenizer()) ?? null,
    hasPolicy: async (id, root) =>
      participant
        .followed()
        .find((f) => f.known.resolved.recipeIdHex === id)
        ?.policies.has(root) ?? false,
    status: async () => ({ running: true, ...(await statusOf(participant, view)) }),
    peers: () => peersOf(participant, view),
    ...(view.standing === undefined ? {} : { standing: view.standing }),
  });
}

/** Everything `murmur status` shows. */
export async function statusOf(participant: Participant, view: RoleView): Promise<Row> {
  const metrics = participant.meter.read();
  return {
    role: view.role,
    peerId: participant.keyPair.peerIdString,
    network: participant.host.networkName,
    addresses: participant.host.addresses(),
    connectedPeers: metrics.connectedPeers,
    bannedPeers: metrics.bannedPeers,
    recipes: participant.followed().map(({ known, chain }) => ({
      recipe: known.resolved.recipe.name,
      recipeId: known.resolved.recipeIdHex,
      state: participant.book.isOpen(known.resolved.recipeIdHex)
        ? 'open'
        : known.closed
          ? 'closed'
          : 'no trainer heard of',
      ...chain.status(),
    })),
    ...view.details?.(),
    ignored: participant.inbox.ignoredCounts(),
    eventLoopDelayMs: metrics.eventLoopDelayMs,
    blockedMs: metrics.blockedMs,
    memoryMiB: Math.round(metrics.rssBytes / MEBI),
    disk: participant.store.blobs.usage(),
    cpuSeconds: Math.round(metrics.cpuMs / 1000),
  };
}

/** Keeps the status on disk, so that `murmur status` can tell it when this process has ended. */
export async function saveStatus(participant: Participant, view: RoleView): Promise<void> {
  const status = { ...(await statusOf(participant, view)), at: new Date().toISOString() };
  await participant.store.records(NODE_RECORDS).put(STATUS_KEY, utf8(JSON.stringify(status)));
}

async function peersOf(participant: Participant, view: RoleView): Promise<Row[]> {
  const standing = view.standing?.() ?? new Map<string, Row>();
  const rows = (await participant.host.peers.table()).map((row) => ({
    peer: row.peer,
    connected: true,
    latencyMs: row.latencyMs,
    direction: row.direction,
    address: row.addresses[0] ?? null,
    agent: row.agent,
    connectedSince: new Date(row.connectedSinceMs).toISOString(),
    protocols: row.protocols,
    penaltyPoints: row.penaltyPoints,
    ...row.counts,
    ...standing.get(row.peer),
  }));
  const gone = [...standing].filter(([peer]) => !rows.some((row) => row.peer === peer));
  return [...rows, ...gone.map(([peer, row]) => ({ peer, connected: false, ...row }))];
}
