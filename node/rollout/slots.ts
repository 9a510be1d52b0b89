// The slots of one peer in one recipe, on disk: which groups were made, and which announcements are out.
// Source: spec/rollouts.md "Randomness" (0, 1, 2 … without a gap; the counter is on disk before the announcement is out).
// Invariants: a slot is written once, with the announcement's payload, before it is published; after a restart the same bytes
// are published again and numbering goes on behind the highest slot written; steps never go back.

import { toHex } from '../protocol/bytes.ts';
import { decodeGroup } from '../protocol/group.ts';
import type { Records } from '../protocol/ports.ts';

/** First byte of a record. */
const PENDING = 0;
const PUBLISHED = 1;

/** A group whose announcement may not be out yet. */
export interface PendingSlot {
  readonly policyStep: number;
  readonly slot: number;
  readonly payload: Uint8Array;
}

export interface SlotBook {
  /** reads what an earlier run wrote */
  open(): Promise<void>;
  /** slots used at a step */
  used(policyStep: number): number;
  /** the newest step with a group of ours; -1 when there is none */
  lastStep(): number;
  /** announcements written but perhaps not published, in order */
  pending(): Promise<readonly PendingSlot[]>;
  /** @throws {SwarmError} DISK_FULL */
  write(policyStep: number, slot: number, payload: Uint8Array): Promise<void>;
  markPublished(policyStep: number, slot: number, payload: Uint8Array): Promise<void>;
  /** forgets steps below this. @returns hex hashes of their bodies */
  prune(belowStep: number): Promise<readonly string[]>;
}

const padded = (value: number): string => value.toString().padStart(10, '0');

/** The slots of one recipe; `open` it before anything else. */
export function createSlotBook(records: Records, recipeIdHex: string): SlotBook {
  const prefix = `slot/${recipeIdHex}/`;
  const keyOf = (policyStep: number, slot: number): string => `${prefix}${padded(policyStep)}/${padded(slot)}`;
  const usedAt = new Map<number, number>();
  let last = -1;

  function note(policyStep: number, slot: number): void {
    usedAt.set(policyStep, Math.max(usedAt.get(policyStep) ?? 0, slot + 1));
    last = Math.max(last, policyStep);
  }

  async function* all(): AsyncIterable<PendingSlot & { readonly flag: number }> {
    for await (const [key, value] of records.entries({ gte: prefix, lt: `${prefix}:` })) {
      const [step, slot] = key.slice(prefix.length).split('/').map(Number);
      yield { policyStep: step!, slot: slot!, flag: value[0]!, payload: value.subarray(1) };
    }
  }

  const record = (flag: number, payload: Uint8Array): Uint8Array => Buffer.concat([Uint8Array.of(flag), payload]);

  return {
    async open() {
      for await (const { policyStep, slot } of all()) note(policyStep, slot);
    },
    used: (policyStep) => usedAt.get(policyStep) ?? 0,
    lastStep: () => last,
    async pending() {
      const found: PendingSlot[] = [];
      for await (const { flag, ...slot } of all()) if (flag === PENDING) found.push(slot);
      return found;
    },
    async write(policyStep, slot, payload) {
      await records.put(keyOf(policyStep, slot), record(PENDING, payload));
      note(policyStep, slot);
    },
    markPublished: (policyStep, slot, payload) => records.put(keyOf(policyStep, slot), record(PUBLISHED, payload)),
    async prune(belowStep) {
      const bodies: string[] = [];
      const deleted: (readonly [string, null])[] = [];
      for await (const { policyStep, slot, payload } of all()) {
        if (policyStep >= belowStep) break;
        bodies.push(toHex(decodeGroup(payload).bodyHash));
        deleted.push([keyOf(policyStep, slot), null]);
        usedAt.delete(policyStep);
      }
      if (deleted.length > 0) await records.batch(deleted);
      return bodies;
    },
  };
}
