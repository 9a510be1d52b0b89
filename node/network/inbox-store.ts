// Accepted messages on disk: one folder of records for each kind and scope, in order of arrival, with an index by message.
// Keys: a/<arrival, 12 hex digits> → envelope; i/<message key> → that arrival key.
// Invariants: an envelope and its index entry are written together; arrival numbers only grow, also over restarts.
// Messages that come together are written together: each write to the database costs 0.15 ms, of one message or of five (measured).

import { setImmediate as giveWay } from 'node:timers/promises';
import { fromUtf8, utf8 } from '../protocol/bytes.ts';
import { messageKey, openEnvelope } from '../protocol/envelope.ts';
import type { Logger, MessageKind, MessageRef, Records, SignedMessage } from '../protocol/ports.ts';

const ARRIVAL_DIGITS = 12;

export interface StoredMessage {
  readonly message: SignedMessage;
  readonly arrival: number;
}

export interface InboxStore {
  put(message: SignedMessage, scope: string | null): Promise<void>;
  has(message: SignedMessage, scope: string | null): boolean;
  /** oldest first, from an arrival number on */
  read(kind: MessageKind, scope: string | null, fromArrival?: number): AsyncIterable<StoredMessage>;
  delete(message: MessageRef, scope: string | null): Promise<void>;
  /** the arrival number of the next message */
  nextArrival(kind: MessageKind, scope: string | null): Promise<number>;
}

type Entry = readonly [key: string, value: Uint8Array];
type Write = (entries: readonly Entry[]) => Promise<void>;

interface OpenedRecords {
  readonly records: Records;
  readonly write: Write;
  next: Promise<number>;
}

function arrivalKey(arrival: number): string {
  return `a/${arrival.toString(16).padStart(ARRIVAL_DIGITS, '0')}`;
}

/** @param components.records opens the records of a name; asked once for each */
export function createInboxStore(components: {
  readonly records: (name: string) => Records;
  readonly networkId: Uint8Array;
  readonly logger: Logger;
}): InboxStore {
  const opened = new Map<string, OpenedRecords>();

  function open(kind: MessageKind, scope: string | null): OpenedRecords {
    const name = `inbox-${kind}-${scope ?? 'network'}`;
    let it = opened.get(name);
    if (it === undefined) {
      const records = components.records(name);
      it = { records, write: createWriter(records), next: nextArrival(records) };
      opened.set(name, it);
    }
    return it;
  }

  return {
    async put(message, scope) {
      const it = open(message.kind, scope);
      const mine = it.next;
      it.next = mine.then((arrival) => arrival + 1);
      const key = arrivalKey(await mine);
      await it.write([
        [key, message.envelope],
        [`i/${messageKey(message)}`, utf8(key)],
      ]);
    },
    has: (message, scope) => open(message.kind, scope).records.has(`i/${messageKey(message)}`),
    async *read(kind, scope, fromArrival = 0) {
      for await (const [key, envelope] of open(kind, scope).records.entries({
        gte: arrivalKey(fromArrival),
        lt: 'a0',
      })) {
        // Signatures were verified before storing.
        const opening = openEnvelope(envelope, components.networkId, () => true);
        if (opening.ok) yield { message: opening.message, arrival: Number.parseInt(key.slice(2), 16) };
        else components.logger.warn({ kind, scope, key }, 'a stored message cannot be read, skipping it');
      }
    },
    nextArrival: (kind, scope) => open(kind, scope).next,
    async delete(message, scope) {
      const { records } = open(message.kind, scope);
      const index = `i/${messageKey(message)}`;
      const key = await records.get(index);
      if (key === undefined) return;
      await records.batch([
        [fromUtf8(key), null],
        [index, null],
      ]);
    },
  };
}

/** A batch of all that is asked for in one turn of the event loop. */
function createWriter(records: Records): Write {
  let batch: { readonly entries: Entry[]; readonly written: Promise<void> } | null = null;
  const begin = (): NonNullable<typeof batch> => {
    const entries: Entry[] = [];
    const written = giveWay().then(() => {
      batch = null;
      return records.batch(entries);
    });
    return { entries, written };
  };
  return (entries) => {
    batch ??= begin();
    batch.entries.push(...entries);
    return batch.written;
  };
}

async function nextArrival(records: Records): Promise<number> {
  for await (const [key] of records.entries({ gte: 'a/', lt: 'a0', reverse: true, limit: 1 })) {
    return Number.parseInt(key.slice(2), 16) + 1;
  }
  return 0;
}
