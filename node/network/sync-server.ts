// Answers `/murmuration/sync/1`: stored messages in pages, manifests before groups before verdicts.
// Source: spec/wire.md "Streams" (pages ≤ 1 MiB of open recipes, manifests, announcements and verdicts within maxLag).
// Invariants: only recipes that we follow; a cursor is one arrival number for each kind, so that later asking goes on
// where it ended; an empty next cursor comes with an empty page and says that was all; a page, also an empty one, costs at
// most PAGE_SCANNED looks, and each look is charged to the asker.

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
  return {
    async start() {
      const busy = encodeSyncAnswer({ status: 'busy', envelopes: [], nextCursor: NOTHING });
      const answer = async (bytes: Uint8Array, peer: PeerIdString, signal: AbortSignal): Promise<Uint8Array> => {
        const { recipeId, cursor } = decodeSyncRequest(bytes);
        const scope = recipeId === null ? null : toHex(recipeId);
        if (scope !== null && !inbox.followed().includes(scope)) {
          return encodeSyncAnswer({ status: 'missing', envelopes: [], nextCursor: NOTHING });
        }
        if (!scans.has(peer)) return busy;
        const onScan = (): void => {
          signal.throwIfAborted();
          scans.charge(peer, 1);
        };
        const floor = scope === null ? null : init.floorStep(scope);
        return encodeSyncAnswer(await pageOf(inbox, scope, cursor, floor, onScan));
      };
      await requests.serve(SYNC_PROTOCOL, answer, {
        maxRequestBytes: REQUEST_MAX_BYTES,
        busy,
        rate: { perSecond: 10, burst: 200 },
      });
    },
  };
}

/**
 * The page that begins at a cursor.
 * @param onScan called before each message that is looked at; what it throws ends the page
 * @throws {SwarmError} MALFORMED
 */
async function pageOf(
  inbox: NetworkInbox,
  scope: string | null,
  cursor: Uint8Array,
  floor: number | null,
  onScan: () => void,
): Promise<SyncAnswer> {
  const kinds = scope === null ? NETWORK_KINDS : RECIPE_KINDS;
  const next = parseCursor(cursor, kinds.length);
  const envelopes: Uint8Array[] = [];
  let bytes = 0;
  let scanned = 0;
  let isFull = false;
  for (const [i, kind] of kinds.entries()) {
    for await (const { message, arrival } of inbox.storedFrom(kind, scope, next[i]!)) {
      isFull = scanned >= PAGE_SCANNED;
      if (isFull) break;
      scanned++;
      onScan();
      const isOver = floor !== null && !KEPT_WHOLE.includes(kind) && (stepOf(message.payload) ?? floor) < floor;
      if (!isOver) {
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
