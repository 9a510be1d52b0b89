// Answers `/murmuration/sync/1`: stored messages in pages, manifests before groups before verdicts.
// Source: spec/wire.md "Streams" (pages ≤ 1 MiB of open recipes, manifests, announcements and verdicts within maxLag).
// Invariants: only recipes that we follow; a cursor is one arrival number for each kind, so that later asking goes on
// where it ended; an empty next cursor comes with an empty page and says that was all; a page, also an empty one, costs at
// most PAGE_SCANNED looks, each charged to all askers together and to its own; but the oldest messages, once found to lie under the
// floor, are looked at no more, and who finds them is not charged: a late joiner does not pay for a history of no use to it.

import { fromUtf8, toHex, utf8 } from '../protocol/bytes.ts';
import { SwarmError } from '../protocol/errors.ts';
import { CURSOR_MAX_BYTES, SYNC_PAGE_MAX_BYTES } from '../protocol/limits.ts';
import type { Clock, MessageKind, PeerIdString, Startable } from '../protocol/ports.ts';
import { decodeSyncRequest, encodeSyncAnswer, type SyncAnswer } from '../protocol/streams.ts';
import { SYNC_PROTOCOL } from '../protocol/topics.ts';
import type { NetworkInbox } from './inbox.ts';
import { readPayloadHead } from './payload-head.ts';
import { createRateLimiter, type Rate } from './rate-limit.ts';
import type { Requests } from './streams.ts';

const NETWORK_KINDS: readonly MessageKind[] = ['recipe', 'offer'];
/** Manifests first (after what says which of two count), so that the roots of groups are known; groups before verdicts. */
const RECIPE_KINDS: readonly MessageKind[] = ['continuation', 'manifest', 'group', 'verdict', 'secret'];
/** What the floor does not touch: the chain of manifests is short and shows who may sign what. */
const KEPT_WHOLE: readonly MessageKind[] = ['continuation', 'manifest', 'recipe', 'offer'];
const REQUEST_MAX_BYTES = CURSOR_MAX_BYTES + 64;
/** Room for status, cursor and the length of each field. */
const PAGE_BYTES = SYNC_PAGE_MAX_BYTES - CURSOR_MAX_BYTES - 64;
const PAGE_MESSAGES = 4_096;
/** Messages looked at for one page: those under the floor cost reading too. */
const PAGE_SCANNED = 16_384;
/** Messages looked at for one peer; one costs 0.05 ms (measured). Our own: four whole pages, then a twentieth of a core. */
const SCAN_RATE: Rate = { perSecond: 1_000, burst: 4 * PAGE_SCANNED };
/** Of all peers together. Our own: four peers' worth, a fifth of a core. */
const ALL_SCAN_RATE: Rate = { perSecond: 4_000, burst: 16 * PAGE_SCANNED };
const ALL = 'all';
const NOTHING: Uint8Array = new Uint8Array(0);

export interface SyncServerInit {
  /** first policy step whose groups, verdicts and secrets are still of use (newest − maxLag); null: all */
  readonly floorStep: (recipeIdHex: string) => number | null;
}

/** Tells the past to whoever asks, once started and as long as the host runs. */
export function createSyncServer(
  components: { readonly requests: Requests; readonly inbox: NetworkInbox; readonly clock: Clock },
  init: SyncServerInit,
): Pick<Startable, 'start'> {
  const { requests, inbox } = components;
  const scans = createRateLimiter(components.clock, SCAN_RATE);
  const allScans = createRateLimiter(components.clock, ALL_SCAN_RATE);
  const underFloor = createUnderFloor();
  return {
    async start() {
      const busy = encodeSyncAnswer({ status: 'busy', envelopes: [], nextCursor: NOTHING });
      const answer = async (bytes: Uint8Array, peer: PeerIdString, signal: AbortSignal): Promise<Uint8Array> => {
        const { recipeId, cursor } = decodeSyncRequest(bytes);
        const scope = recipeId === null ? null : toHex(recipeId);
        if (scope !== null && !inbox.followed().includes(scope)) {
          return encodeSyncAnswer({ status: 'missing', envelopes: [], nextCursor: NOTHING });
        }
        if (!scans.has(peer) || !allScans.has(ALL)) return busy;
        const onScan = (): void => {
          signal.throwIfAborted();
          allScans.charge(ALL, 1);
        };
        const floor = scope === null ? null : init.floorStep(scope);
        const looks: Looks = { onScan, charge: () => scans.charge(peer, 1), areLeft: () => allScans.has(ALL) };
        return encodeSyncAnswer(await pageOf({ inbox, underFloor }, { scope, cursor, floor, looks }));
      };
      await requests.serve(SYNC_PROTOCOL, answer, {
        maxRequestBytes: REQUEST_MAX_BYTES,
        busy,
        rate: { perSecond: 10, burst: 200 },
      });
    },
  };
}

interface Looks {
  /** called before each message that is looked at; what it throws ends the page */
  onScan(): void;
  /** called after those that the asker is charged for */
  charge(): void;
  /** whether a page that has begun may look on; pages that run at once share what is left */
  areLeft(): boolean;
}

interface PageRequest {
  readonly scope: string | null;
  readonly cursor: Uint8Array;
  readonly floor: number | null;
  readonly looks: Looks;
}

/** The page that begins at a cursor, or where the floor does. @throws {SwarmError} MALFORMED */
async function pageOf(
  components: { readonly inbox: NetworkInbox; readonly underFloor: UnderFloor },
  request: PageRequest,
): Promise<SyncAnswer> {
  const { inbox, underFloor } = components;
  const { scope, floor, looks } = request;
  const kinds = scope === null ? NETWORK_KINDS : RECIPE_KINDS;
  const next = parseCursor(request.cursor, kinds.length);
  const envelopes: Uint8Array[] = [];
  let bytes = 0;
  let scanned = 0;
  let isFull = false;
  for (const [i, kind] of kinds.entries()) {
    const below =
      scope === null || floor === null || KEPT_WHOLE.includes(kind) ? null : underFloor.of(scope, kind, floor);
    next[i] = Math.max(next[i]!, below?.arrival ?? 0);
    for await (const { message, arrival } of inbox.storedFrom(kind, scope, next[i])) {
      isFull = scanned >= PAGE_SCANNED || (scanned > 0 && !looks.areLeft());
      if (isFull) break;
      scanned++;
      looks.onScan();
      const isUnder = below !== null && (stepOf(message.payload) ?? below.floor) < below.floor;
      // The cursor stands where the known ones end: this one is the next of them.
      if (isUnder && next[i] === below.arrival) below.arrival = arrival + 1;
      else looks.charge();
      if (!isUnder) {
        bytes += message.envelope.length + 4;
        isFull = bytes > PAGE_BYTES || envelopes.length >= PAGE_MESSAGES;
        if (isFull) break;
        envelopes.push(message.envelope);
      }
      next[i] = arrival + 1;
    }
    if (isFull) break;
  }
  return { status: 'ok', envelopes, nextCursor: scanned === 0 ? NOTHING : utf8(next.join('.')) };
}

/** The first messages of a recipe and kind: all that arrived before `arrival` are of steps before `floor`. */
interface Below {
  readonly floor: number;
  arrival: number;
}

interface UnderFloor {
  /** shared by the pages of one floor: each may find more */
  of(scope: string, kind: MessageKind, floor: number): Below;
}

/** What is known of each recipe and kind that was asked for. A floor that rises leaves it true; one that falls does not. */
function createUnderFloor(): UnderFloor {
  const known = new Map<string, Below>();
  return {
    of(scope, kind, floor) {
      const name = `${scope} ${kind}`;
      const before = known.get(name);
      if (before?.floor === floor) return before;
      const below = { floor, arrival: before !== undefined && before.floor < floor ? before.arrival : 0 };
      known.set(name, below);
      return below;
    },
  };
}

function stepOf(payload: Uint8Array): number | null {
  return readPayloadHead(payload)?.policyStep ?? null;
}

/** One arrival number a kind, joined by dots; empty begins at the start. */
function parseCursor(cursor: Uint8Array, kinds: number): number[] {
  if (cursor.length === 0) return new Array<number>(kinds).fill(0);
  const numbers = fromUtf8(cursor).split('.').map(Number);
  if (numbers.length !== kinds || !numbers.every((it) => Number.isSafeInteger(it) && it >= 0)) {
    throw new SwarmError('MALFORMED', 'a sync cursor is one that an earlier answer gave');
  }
  return numbers;
}
